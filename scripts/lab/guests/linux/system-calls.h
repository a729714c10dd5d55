/*
 * What a program needs to run on Linux (x86-64) with nothing beside it: system calls, text on standard output, and the
 * start of a process. No C library, so that a compiler is all that it takes to build one.
 */

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long u64;

enum { SYS_WRITE = 1, SYS_MMAP = 9, SYS_PAUSE = 34, SYS_NANOSLEEP = 35, SYS_EXIT = 60, SYS_CLOCK_GETTIME = 228 };

static long system_call(long number, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f) {
  long result;
  __asm__ volatile(
      "mov %5, %%r10\n\t"
      "mov %6, %%r8\n\t"
      "mov %7, %%r9\n\t"
      "syscall"
      : "=a"(result)
      : "a"(number), "D"(a), "S"(b), "d"(c), "m"(d), "m"(e), "m"(f)
      : "rcx", "r8", "r9", "r10", "r11", "memory");
  return result;
}

static void exit_with(int status) {
  for (;;) system_call(SYS_EXIT, status, 0, 0, 0, 0, 0);
}

/* The line that is being made; it reaches the console in one piece. */
static char line[256];
static u64 line_length;

static void add_text(const char *text) {
  while (*text && line_length < sizeof line - 1) line[line_length++] = *text++;
}

static void add_number(u64 value, u64 base) {
  char digits[24];
  int at = sizeof digits - 1;
  digits[at] = 0;
  do digits[--at] = "0123456789abcdef"[value % base];
  while ((value /= base));
  add_text(digits + at);
}

static void print_line(void) {
  line[line_length++] = '\n';
  system_call(SYS_WRITE, 1, (u64)line, line_length, 0, 0, 0);
  line_length = 0;
}

/* Zeroed memory of its own; ends the process if there is none. */
static void *allocate(u64 bytes) {
  enum { READ_WRITE = 3, PRIVATE_ANONYMOUS = 0x22 };
  long address = system_call(SYS_MMAP, 0, bytes, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0);
  if (address < 0 && address > -4096) {
    add_text("FAILED: no memory");
    print_line();
    exit_with(2);
  }
  return (void *)address;
}

struct timespec {
  u64 seconds;
  u64 nanoseconds;
};

/* Of the monotonic clock. */
static u64 microseconds(void) {
  enum { CLOCK_MONOTONIC = 1 };
  struct timespec now;
  system_call(SYS_CLOCK_GETTIME, CLOCK_MONOTONIC, (u64)&now, 0, 0, 0, 0);
  return now.seconds * 1000000 + now.nanoseconds / 1000;
}

/* For less than a second. */
static void nap(u64 microseconds) {
  struct timespec time = {0, microseconds * 1000};
  system_call(SYS_NANOSLEEP, (u64)&time, 0, 0, 0, 0, 0);
}

static u64 number_from(const char *text) {
  u64 value = 0;
  while (*text >= '0' && *text <= '9') value = value * 10 + (*text++ - '0');
  return value;
}

int main(int count, char **arguments);

/* The kernel leaves the count of arguments and the arguments on the stack. */
__asm__(
    ".globl _start\n"
    "_start:\n\t"
    "mov (%rsp), %rdi\n\t"
    "lea 8(%rsp), %rsi\n\t"
    "and $-16, %rsp\n\t"
    "call enter\n");

void enter(long count, char **arguments) { exit_with(main(count, arguments)); }
