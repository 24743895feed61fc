# shellcheck shell=bash
# What post-build.sh and post-image.sh share. What they read from the environment is set in dau.mk.
# shellcheck disable=SC2034 # used by those that source it

SHARED=$BR2_EXTERNAL_DAU_PATH/../boot
export SOURCE_DATE_EPOCH=$DAU_BUILD_TIME LC_ALL=C TZ=UTC
umask 022

die() { echo "dau: $*" >&2; exit 1; }

# loud LINE...: what nobody may overlook.
loud() {
    printf '\n*** %s' "$@" >&2
    printf '\n\n' >&2
}

# keys: sets DAU_KEYRING, SIGNING (arguments of dau-packager) and NAME. With no keys given: development keys, in a folder outside
# the tree, and their mark in every name.
keys() {
    NAME=dau-$DAU_PRODUCT-$DAU_VERSION
    if [ -n "$DAU_KEYRING" ]; then
        [ -d "$DAU_KEYRING" ] || die "keyring $DAU_KEYRING is not there (BR2_DAU_KEYRING, DAU_KEYRING)"
        [ -e "$DAU_SIGNER" ] || die "signer's certificate '$DAU_SIGNER' is not there (BR2_DAU_SIGNER, DAU_SIGNER)"
        if [ -n "$DAU_SIGN_COMMAND" ]; then
            SIGNING=(--signer "$DAU_SIGNER" --command "$DAU_SIGN_COMMAND")
        else
            [ -e "$DAU_KEY" ] || die "signer's key '$DAU_KEY' is not there; name it (BR2_DAU_KEY) or a signing command (BR2_DAU_SIGN_COMMAND)"
            SIGNING=(--signer "$DAU_SIGNER" --key "$DAU_KEY")
        fi
        return
    fi
    [ -z "$DAU_SIGNER$DAU_KEY$DAU_SIGN_COMMAND" ] || die "a signer without a keyring: set BR2_DAU_KEYRING too, or none of them"
    [ -e "$DAU_PKI/keyring" ] || dau-packager keygen --out "$DAU_PKI"
    loud "DEVELOPMENT KEYS: whoever has $DAU_PKI" "can upgrade every terminal with this image. Not for the field." \
        "Set BR2_DAU_KEYRING, BR2_DAU_SIGNER and BR2_DAU_KEY (or BR2_DAU_SIGN_COMMAND)."
    DAU_KEYRING=$DAU_PKI/keyring
    SIGNING=(--signer "$DAU_PKI/package/signer.pem" --key "$DAU_PKI/package/signer.key")
    NAME=$NAME-devkeys
}
