# What the recipes of this layer and the images share: what an OS is called, and what terminals trust. To be set in a configuration (local.conf,
# a distribution, kas); none has to be, except for the keys:
#
#   DAU_PRODUCT          what packages are for: a terminal refuses those of another product [MACHINE]
#   DAU_VERSION          version of the OS
#   DAU_ROLLBACK_INDEX   terminals refuse packages with a lower one than that of what they have installed
#   DAU_BUILD_TIME       seconds since 1970: in every package, and the floor of a terminal's clock [time of this repository's commit]
#
#   DAU_KEYRING          folder of the certificates (*.pem) that terminals trust, with the list `revoked` where there is one
#   DAU_SIGNER           PEM file: certificate of the signer, then its intermediates
#   DAU_KEY              PEM file: private key of the signer
#   DAU_PASSPHRASE_FILE  file whose first line is the passphrase of DAU_KEY
#   DAU_SIGN_COMMAND     instead of DAU_KEY: a shell command that gets what is to be signed on its standard input and answers with the
#                        signature, for keys in an HSM or on another machine; `dau-packager build --help` says more. It runs with
#                        network, and finds programs that HOSTTOOLS names; others by their full path
#   DAU_DEVELOPMENT_KEYS "1": make keys in DAU_PKI and sign with them; every file's name then says -devkeys. Not for the field.
#   DAU_PKI              folder of the development keys, outside of every layer

DAU_PRODUCT ?= "${MACHINE}"
DAU_PRODUCT[doc] = "What upgrade packages are for: a terminal refuses those of another product."
DAU_VERSION ?= "1.0.0"
DAU_VERSION[doc] = "Version of the OS and of its upgrade packages."
DAU_ROLLBACK_INDEX ?= "1"
DAU_ROLLBACK_INDEX[doc] = "Terminals refuse packages with a lower index than that of what they have installed."
DAU_BUILD_TIME ?= "${@dau_commit_time(d)}"
DAU_BUILD_TIME[doc] = "Seconds since 1970: the time in every package, and the floor of a terminal's clock."

DAU_DEVELOPMENT_KEYS ?= "0"
DAU_DEVELOPMENT_KEYS[doc] = "1: make development keys in DAU_PKI and sign with them. Not for the field."
DAU_PKI ?= "${TOPDIR}/dau-development-pki"
DAU_PKI[doc] = "Folder of the development keys, outside of every layer."
DAU_KEYRING ?= "${@dau_development(d, 'keyring')}"
DAU_KEYRING[doc] = "Folder of the certificates that terminals trust, and of the list of revoked signers."
DAU_SIGNER ?= "${@dau_development(d, 'package/signer.pem')}"
DAU_SIGNER[doc] = "PEM file: certificate of the signer, then its intermediates."
DAU_KEY ?= "${@dau_development(d, 'package/signer.key')}"
DAU_KEY[doc] = "PEM file: private key of the signer."
DAU_PASSPHRASE_FILE ?= ""
DAU_PASSPHRASE_FILE[doc] = "File whose first line is the passphrase of DAU_KEY."
DAU_SIGN_COMMAND ?= ""
DAU_SIGN_COMMAND[doc] = "Shell command that signs, instead of DAU_KEY."

# The name of everything that is handed over, without its ending.
DAU_NAME = "dau-${DAU_PRODUCT}-${DAU_VERSION}${@'-devkeys' if d.getVar('DAU_DEVELOPMENT_KEYS') == '1' else ''}"
DAU_NAME[doc] = "Name of everything that is handed over, without its ending."

# The repository that this layer is a part of.
DAU_REPOSITORY = "${@dau_repository(d)}"
DAU_REPOSITORY[doc] = "The repository that this layer is a part of."
DAU_REPOSITORY[vardepvalue] = ""

# Found by the layer's place, not by that of the recipe: an image recipe may stand in another layer.
def dau_repository(d):
    here = bb.utils.which(d.getVar('BBPATH'), 'classes-recipe/dau_settings.bbclass')
    return os.path.normpath(os.path.join(os.path.dirname(here), '../..'))

def dau_development(d, name):
    return os.path.join(d.getVar('DAU_PKI'), name) if d.getVar('DAU_DEVELOPMENT_KEYS') == '1' else ''

def dau_commit_time(d):
    try:
        # The repository may be another user's: in a container, for instance.
        return bb.process.run(['git', '-c', 'safe.directory=*', '-C', d.getVar('DAU_REPOSITORY'), 'log', '-1', '--format=%ct'])[0].strip()
    except bb.process.CmdError:
        return d.getVar('REPRODUCIBLE_TIMESTAMP_ROOTFS')

# What is wrong with the keys that were set, in words; nothing when they serve. Terminals need the keyring, packages the rest.
def dau_key_fault(d, signing):
    development = d.getVar('DAU_DEVELOPMENT_KEYS') == '1'
    how = 'in local.conf, or DAU_DEVELOPMENT_KEYS = "1" for keys that serve in the laboratory only (see docs/yocto.md)'
    if development:
        pki = os.path.realpath(d.getVar('DAU_PKI'))
        for layer in d.getVar('BBLAYERS').split():
            if (pki + '/').startswith(os.path.realpath(layer) + '/'):
                return 'DAU_PKI = "%s" is inside the layer %s: keys belong in no layer, set it to another folder' % (pki, layer)
        return ''
    if not d.getVar('DAU_KEYRING'):
        return 'no keys: set DAU_KEYRING, DAU_SIGNER and DAU_KEY (or DAU_SIGN_COMMAND) ' + how
    if not os.path.isdir(d.getVar('DAU_KEYRING')):
        return 'DAU_KEYRING = "%s" is no folder: set it to that of the certificates that terminals trust' % d.getVar('DAU_KEYRING')
    if not signing:
        return ''
    files = ['DAU_SIGNER']
    if d.getVar('DAU_SIGN_COMMAND'):
        if d.getVar('DAU_KEY'):
            return 'both DAU_KEY and DAU_SIGN_COMMAND are set: set the one that signs'
    elif not d.getVar('DAU_KEY'):
        return 'nothing to sign with: set DAU_KEY or DAU_SIGN_COMMAND ' + how
    else:
        files.append('DAU_KEY')
    if d.getVar('DAU_PASSPHRASE_FILE'):
        files.append('DAU_PASSPHRASE_FILE')
    for name in files:
        if not os.path.isfile(d.getVar(name) or ''):
            return '%s = "%s" is no file: set it %s' % (name, d.getVar(name) or '', how)
    return ''

# For file-checksums: the files and folders that these variables name.
def dau_checksums(d, names):
    paths = [d.getVar(name) for name in names.split()]
    return ' '.join('%s:%s' % (path, os.path.exists(path)) for path in paths if path)
