# Sources of dau, in ${S}. A recipe names what it needs in DAU_PATHS before it inherits this class. They come from a revision in git:
#
#   DAU_GIT = "git://HOST/PATH/dau.git;protocol=https;branch=main"
#   DAU_SRCREV = "<40 hex digits>"
#
# or, while you develop, from a folder as it stands there, committed or not:
#
#   DAU_SOURCE = "/path/to/dau"
#
# Who edits a program takes externalsrc (docs/yocto.md).

DAU_GIT ?= ""
DAU_GIT[doc] = "The repository as a source."
DAU_SRCREV ?= ""
DAU_SRCREV[doc] = "Revision of the repository to build from."
DAU_SOURCE ?= ""
DAU_SOURCE[doc] = "Folder with the sources, instead of a revision in git."
DAU_PATHS ?= ""
DAU_PATHS[doc] = "Files and folders of the repository that a recipe takes."

DAU_PUBLISHER ?= "to be set by whoever publishes"
DAU_PUBLISHER[doc] = "Public address of the project: HOMEPAGE, BUGTRACKER and MAINTAINER of every recipe."
HOMEPAGE = "${DAU_PUBLISHER}"
BUGTRACKER = "${DAU_PUBLISHER}"
MAINTAINER = "${DAU_PUBLISHER}"

LICENSE ?= "MIT | Apache-2.0"
LIC_FILES_CHKSUM = "\
    file://LICENSE-MIT;md5=24427d8eb84dc42743e11fc66cc6ee07 \
    file://LICENSE-APACHE;md5=3b83ef96387f14655fc854ddc3c6bd57 \
"

FILESEXTRAPATHS:prepend = "${@d.getVar('DAU_SOURCE') + ':' if d.getVar('DAU_SOURCE') else ''}"
SRC_URI = "${@dau_src_uri(d)}"
SRCREV = "${DAU_SRCREV}"

def dau_src_uri(d):
    if d.getVar('DAU_SOURCE'):
        return ' '.join('file://%s;subdir=${BP}' % path for path in ('LICENSE-MIT LICENSE-APACHE ' + d.getVar('DAU_PATHS')).split())
    if d.getVar('DAU_GIT') and d.getVar('DAU_SRCREV'):
        return '${DAU_GIT};destsuffix=${BP}'
    raise bb.parse.SkipRecipe('no sources: set DAU_GIT and DAU_SRCREV, or DAU_SOURCE to a folder (see docs/yocto.md)')
