# What is linked into a program of the Cargo workspace, in its SPDX package: SRC_URI names the crates of the whole lock, which cargo asks
# for. The list is in the package of documentation, so that it is there, too, where a program comes from the sstate cache.

do_compile:append() {
    cd ${S}
    boot/list-crates ${BPN} ${RUST_HOST_SYS} > ${B}/dau-crates
}

do_install:append() {
    install -D -m 0644 ${B}/dau-crates ${D}${docdir}/${BPN}/crates
}

python dau_spdx_crates() {
    import oe.sbom30, oe.spdx30, oe.spdx30_tasks, oe.spdx_common
    from pathlib import Path
    from urllib.parse import quote

    if oe.spdx30_tasks.get_is_native(d):
        return
    program = d.getVar('PN')
    path = oe.sbom30.jsonld_arch_path(d, d.getVar('SSTATE_PKGARCH'), 'packages-staging', 'package-' + program, deploydir=Path(d.getVar('SPDXDEPLOY')))
    objset = oe.sbom30.load_jsonld(d, path, required=True)
    package = objset.find_root(oe.spdx30.software_Package)
    licences = oe.spdx_common.load_spdx_license_data(d)
    crates = []
    for line in Path(d.expand('${PKGDEST}/${PN}-doc${docdir}/${BPN}/crates')).read_text().splitlines():
        name, version, licence = line.split(' ', 2)
        if name == d.getVar('BPN'):
            continue
        crate = objset.add(oe.spdx30.software_Package(
            _id=objset.new_spdxid('crate', name, version),
            creationInfo=objset.doc.creationInfo,
            name=name,
            software_packageVersion=version,
            software_primaryPurpose=oe.spdx30.software_SoftwarePurpose.library))
        oe.spdx30_tasks.set_purls(crate, ['pkg:cargo/%s@%s' % (name, quote(version))])
        if name == 'zstd-sys':
            # The C library within.
            for cpe in oe.cve_check.get_cpe_ids('facebook:zstandard', version.rpartition('zstd.')[2]):
                crate.externalIdentifier.append(oe.spdx30.ExternalIdentifier(
                    externalIdentifierType=oe.spdx30.ExternalIdentifierType.cpe23, identifier=cpe))
        objset.new_relationship([crate], oe.spdx30.RelationshipType.hasDeclaredLicense, [objset.new_license_expression(licence, licences)])
        crates.append(crate)
    objset.new_relationship([package], oe.spdx30.RelationshipType.hasStaticLink, crates)
    objset.add_aliases()
    oe.sbom30.write_jsonld_doc(d, objset, path)
}
dau_spdx_crates[doc] = "Adds the crates that are linked into a program to its SPDX package."
do_create_spdx[postfuncs] += "${@'dau_spdx_crates' if bb.data.inherits_class('create-spdx-3.0', d) else ''}"
