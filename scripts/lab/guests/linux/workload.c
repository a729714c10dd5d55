/*
 * workload ACTIVITY CONTENT MIB HOT_MIB PAGES_PER_SECOND
 *
 * Fills MIB of memory, prints 'workload: ready', then does for ever, after QEMU's guestperf:
 *   idle     nothing
 *   rewrite  writes the first HOT_MIB in turn, with new content, PAGES_PER_SECOND at most (0: as fast as it can)
 *   xor      picks a page of all of it at random and XORs each of its words
 *   read     reads all of it in turn, and writes one page in 64
 * CONTENT is what pages are filled with: 'incompressible'; 'compressible', where three quarters of each 64 bytes are
 * always the same; 'zero-rich', where three pages of four are zero.
 *
 * Reports its work every 20 ms or so as a line 'work MICROSECONDS PAGES': its monotonic clock, which stands still while
 * the machine does, and the pages that it is done with since it was ready.
 */
#include "system-calls.h"

enum { PAGE_WORDS = 512, PAGES_PER_MIB = 256, READS_PER_WRITE = 64 };

/* Pages between two looks at the clock; a power of two. */
enum { PAGES_PER_LOOK = 8 };

static const u64 REPORT_MICROSECONDS = 20000;
static const u64 NAP_MICROSECONDS = 1000;
static const u64 SAME_WORD = 0x2020202020202020UL;

static u64 *memory;
static u64 random = 88172645463325252UL;
static char content;

static u64 next_random(void) {
  random ^= random << 13;
  random ^= random >> 7;
  return random ^= random << 17;
}

static void write_page(u64 page) {
  u64 *at = memory + page * PAGE_WORDS, *end = at + PAGE_WORDS;
  if (content == 'z' && page % 4) {
    while (at < end) *at++ = 0;
  } else if (content == 'c') {
    while (at < end) {
      at[0] = next_random(), at[1] = next_random();
      at[2] = at[3] = at[4] = at[5] = at[6] = at[7] = SAME_WORD;
      at += 8;
    }
  } else {
    while (at < end) *at++ = next_random();
  }
}

static void xor_page(u64 page) {
  u64 *at = memory + page * PAGE_WORDS, *end = at + PAGE_WORDS, word = next_random();
  while (at < end) *at++ ^= word;
}

static u64 read_page(u64 page) {
  u64 *at = memory + page * PAGE_WORDS, *end = at + PAGE_WORDS, sum = 0;
  while (at < end) sum += *at++;
  return sum;
}

static u64 done, started, reported;

/* Counts a page, reports when it is time, and rests where the rate is limited. */
static void count_page(u64 pages_per_second) {
  done++;
  if (done % PAGES_PER_LOOK) return;
  for (;;) {
    u64 now = microseconds();
    if (now - reported >= REPORT_MICROSECONDS) {
      reported = now;
      add_text("work ");
      add_number(now, 10);
      add_text(" ");
      add_number(done, 10);
      print_line();
    }
    if (!pages_per_second || done <= (now - started) * pages_per_second / 1000000) return;
    nap(NAP_MICROSECONDS);
  }
}

int main(int count, char **arguments) {
  if (count != 6) return 2;
  char activity = arguments[1][0];
  content = arguments[2][0];
  u64 pages = number_from(arguments[3]) * PAGES_PER_MIB;
  u64 hot_pages = number_from(arguments[4]) * PAGES_PER_MIB;
  u64 pages_per_second = number_from(arguments[5]);
  if (hot_pages > pages) hot_pages = pages;
  memory = allocate(pages * PAGE_WORDS * sizeof(u64));
  for (u64 page = 0; page < pages; page++) write_page(page);
  started = reported = microseconds();
  add_text("workload: ready");
  print_line();
  for (u64 turn = 0;; turn++) {
    if (activity == 'i')
      system_call(SYS_PAUSE, 0, 0, 0, 0, 0, 0);
    else if (activity == 'r' && arguments[1][2] == 'w')
      write_page(turn % hot_pages);
    else if (activity == 'x')
      xor_page(next_random() % pages);
    else if (turn % READS_PER_WRITE)
      read_page(turn % pages);
    else
      write_page(turn % pages);
    count_page(pages_per_second);
  }
}
