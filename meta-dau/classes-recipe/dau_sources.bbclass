# Sources of this repository, in ${S}. A recipe names what it needs in DAU_PATHS before it inherits this class.
#
# While you develop, that is the repository which holds this layer, as it stands there, committed or not. For a release, fix a revision:
#
#   DAU_SRCREV = "<40 hex digits>"
#   DAU_GIT = "git://HOST/PATH/dau.git;protocol=https;branch=main"
#
# Who edits a program takes externalsrc (docs/yocto.md).

inherit dau_settings

DAU_SRCREV ?= ""
DAU_SRCREV[doc] = "Revision of the repository to build from; empty: what stands in it."
DAU_GIT ?= ""
DAU_GIT[doc] = "The repository as a source, for DAU_SRCREV."
DAU_PATHS ?= ""
DAU_PATHS[doc] = "Files and folders of the repository that a recipe takes."

LICENSE = "MIT | Apache-2.0"
LIC_FILES_CHKSUM = "\
    file://LICENSE-MIT;md5=24427d8eb84dc42743e11fc66cc6ee07 \
    file://LICENSE-APACHE;md5=3b83ef96387f14655fc854ddc3c6bd57 \
"

FILESEXTRAPATHS:prepend = "${@'' if d.getVar('DAU_SRCREV') else d.getVar('DAU_REPOSITORY') + ':'}"
SRC_URI = "${@dau_src_uri(d)}"
SRCREV = "${DAU_SRCREV}"

def dau_src_uri(d):
    if d.getVar('DAU_SRCREV'):
        if not d.getVar('DAU_GIT'):
            raise bb.parse.SkipRecipe('DAU_SRCREV is set, but not where to fetch it from: set DAU_GIT (see docs/yocto.md)')
        return '${DAU_GIT};destsuffix=${BP}'
    return ' '.join('file://%s;subdir=${BP}' % path for path in ('LICENSE-MIT LICENSE-APACHE ' + d.getVar('DAU_PATHS')).split())
