// The login: a token becomes a session.
import { Refused, logIn } from "./api.js";
import { field, h, say } from "./dom.js";
import { t } from "./text.js";

export function login(main, entered) {
  const token = h("input", { type: "password", id: "token", name: "token", autocomplete: "current-password", required: true, spellcheck: "false" });
  const enter = async (event) => {
    event.preventDefault();
    try {
      await logIn(token.value.trim());
      say("");
      entered();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      token.value = "";
      token.focus();
      const key = { "token-ended": "login.token-ended", unauthorized: "login.wrong" }[error.word];
      say(error.status === 0 ? t("unreachable") : key ? t(key) : error.message, true);
    }
  };
  document.title = `${t("login")} · dau-station`;
  main.className = "entrance";
  main.replaceChildren(h("form", { id: "login", onsubmit: enter },
    h("h1", {}, t("login")),
    field(t("token"), token, t("login.hint")),
    h("p", { class: "buttons" }, h("button", { class: "primary" }, t("login.enter")))));
  token.focus();
}
