/* Stands for a kernel in test-boot-script: an arm64 Image that sends the structure block of the device tree that it was given (the kernel
   command line is in it) to QEMU's serial port, and switches the machine off. Header: Linux, Documentation/arch/arm64/booting.rst. */
	b	start
	.long	0
	.quad	0			/* text_offset */
	.quad	0x10000			/* image_size */
	.quad	0xa			/* flags: 4 KiB pages, anywhere in memory */
	.quad	0, 0, 0
	.ascii	"ARM\x64"
	.long	0
start:	ldr	w1, [x0, #8]		/* off_dt_struct, big endian */
	rev	w1, w1
	ldr	w2, [x0, #36]		/* size_dt_struct */
	rev	w2, w2
	add	x1, x1, x0
	mov	x3, #0x09000000
next:	ldrb	w4, [x1], #1
	strb	w4, [x3]
	subs	w2, w2, #1
	b.ne	next
	mov	w0, #0x0008		/* PSCI SYSTEM_OFF */
	movk	w0, #0x8400, lsl #16
	hvc	#0
	b	.
