/* What payload-arm64.s does, for 32-bit ARM. U-Boot leaves the device tree's address in r2 (Linux, Documentation/arch/arm/booting.rst). */
	.arch	armv7ve
	.arm
	ldr	r0, [r2, #8]		/* off_dt_struct, big endian */
	rev	r0, r0
	add	r0, r0, r2
	ldr	r1, [r2, #36]		/* size_dt_struct */
	rev	r1, r1
	mov	r3, #0x09000000
next:	ldrb	r4, [r0], #1
	strb	r4, [r3]
	subs	r1, r1, #1
	bne	next
	movw	r0, #0x0008		/* PSCI SYSTEM_OFF */
	movt	r0, #0x8400
	hvc	#0
	b	.
