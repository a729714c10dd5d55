/** Byte offsets in struct user_regs_struct of x86-64 (sys/user.h), by the names of the registers; 8 bytes each. */
export const REGISTER = {
  r15: 0,
  r14: 8,
  r13: 16,
  r12: 24,
  rbp: 32,
  rbx: 40,
  r11: 48,
  r10: 56,
  r9: 64,
  r8: 72,
  rax: 80,
  rcx: 88,
  rdx: 96,
  rsi: 104,
  rdi: 112,
  /** Number of the system call that the thread is in; -1 if it is in none. */
  originalRax: 120,
  rip: 128,
  cs: 136,
  rflags: 144,
  rsp: 152,
  ss: 160,
} as const;
export const USER_REGISTERS_BYTES = 27 * 8;
