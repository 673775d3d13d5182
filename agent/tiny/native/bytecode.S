// The bytecode, as it was compiled.
.section .rodata.bytecode, "a"
.balign 16
.global bytecode_start
bytecode_start:
.incbin BYTECODE
.global bytecode_end
bytecode_end:
.byte 0
.section .note.GNU-stack, "", @progbits
