"""A simulated terminal: TLS with its own certificate, and the messages of docs/formats/messages.md."""
import json
import os
import queue
import time

import paho.mqtt.client as mqtt


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class Terminal:
    def __init__(self, name, version="1.0.0"):
        self.name, self.version, self.mid = name, version, 0
        self.orders = queue.Queue()
        ready = queue.Queue()
        identity = f"{os.environ['WORK']}/pki/tls/terminals/{name}"
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name)
        self.client.tls_set(os.environ["DAU_STATION_CA"], f"{identity}.pem", f"{identity}.key")
        self.client.on_connect = lambda client, *_: client.subscribe(f"/v1/{name}/device/command", 1)
        self.client.on_subscribe = lambda *_: ready.put(True)
        self.client.on_message = self._heard
        self.client.connect("localhost", int(os.environ["MQTT_PORT"]))
        self.client.loop_start()
        ready.get(timeout=60)
        self._tell("request", "EVENT_LINKUP", {
            "dev": {"devSN": name, "devType": "ftu"},
            "os": {"distro": "dau", "version": version, "kernel": "6.1.0"},
            "dau": {"version": version, "product": "p", "rollbackIndex": 1, "freeBytes": 300_000_000, "kernelSlot": "a"},
        })

    def _send(self, channel, content):
        content = {"deviceId": self.name, "timestamp": now()} | content
        self.client.publish(f"/v1/{self.name}/device/{channel}", json.dumps(content), 1)

    def _tell(self, channel, kind, param):
        self.mid += 1
        self._send(channel, {"mid": self.mid, "expire": -1, "type": kind, "param": param})

    def _heard(self, _client, _data, message):
        content = json.loads(message.payload)
        if content["type"] == "CMD_SYS_UPGRADE":
            self._send("reply", {"mid": content["mid"], "type": content["type"], "code": 202, "msg": "accepted", "param": {}})
            self.orders.put(content["param"]["jobId"])

    def order(self):
        """Waits for an order, which it accepts; returns the job."""
        return self.orders.get(timeout=60)

    def progress(self, job, state, percent):
        self._tell("data", "REP_JOB_PROGRESS", {"jobId": job, "state": state, "progress": percent, "bytes": percent * 1000,
                                                "total": 100_000, "bytesUsed": percent * 1100})

    def end(self, job, code, outcome, word, message):
        details = {"outcome": outcome, "word": word, "versionBefore": self.version, "bytesUsed": 123_456}
        self._tell("data", "REP_JOB_RESULT", {"jobId": job, "code": code, "msg": message, "details": details})
