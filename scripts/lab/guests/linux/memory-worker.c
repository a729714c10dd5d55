/*
 * memory-worker NAME MIB HOT_MIB
 *
 * Fills MIB of memory with a pattern that follows from NAME (a number). Then for ever: writes HOT_MIB, in pages here and there,
 * with new content, checks all of the memory, and prints a line for each pass.
 * A page that holds anything but what was written to it last ends the program with a line 'FAILED: ...'.
 */
#include "system-calls.h"

enum { PAGE_WORDS = 512, PAGES_PER_MIB = 256 };

static u64 name;
static u64 *memory;
/* How often each page was written. */
static u32 *generation;

/* The first word of a page; the others follow from it. */
static u64 first_word(u64 page) {
  u64 word = (name << 56) ^ (page << 32) ^ generation[page];
  word = (word ^ (word >> 33)) * 0xff51afd7ed558ccdUL;
  return word ^ (word >> 29);
}

static u64 next_word(u64 word) { return word * 6364136223846793005UL + 1442695040888963407UL; }

static void write_page(u64 page) {
  generation[page]++;
  u64 *at = memory + page * PAGE_WORDS, *end = at + PAGE_WORDS;
  for (u64 word = first_word(page); at < end; word = next_word(word)) *at++ = word;
}

static void say(const char *what, u64 number) {
  add_text("worker ");
  add_number(name, 10);
  add_text(": ");
  add_text(what);
  add_number(number, 10);
  print_line();
}

static void check_page(u64 page) {
  u64 expected = first_word(page);
  for (u64 word = 0; word < PAGE_WORDS; word++, expected = next_word(expected)) {
    u64 found = memory[page * PAGE_WORDS + word];
    if (found == expected) continue;
    add_text("FAILED: worker ");
    add_number(name, 10);
    add_text(", page ");
    add_number(page, 10);
    add_text(", generation ");
    add_number(generation[page], 10);
    add_text(", word ");
    add_number(word, 10);
    add_text(" is ");
    add_number(found, 16);
    add_text(" and should be ");
    add_number(expected, 16);
    print_line();
    exit_with(1);
  }
}

static void check_for_ever(u64 pages, u64 hot_pages) {
  u64 random = name;
  for (u64 pass = 1;; pass++) {
    for (u64 i = 0; i < hot_pages; i++) write_page(((random = next_word(random)) >> 33) % pages);
    for (u64 page = 0; page < pages; page++) check_page(page);
    say("checked all of it, pass ", pass);
  }
}

int main(int count, char **arguments) {
  if (count != 4) return 2;
  name = number_from(arguments[1]);
  u64 pages = number_from(arguments[2]) * PAGES_PER_MIB;
  u64 hot_pages = number_from(arguments[3]) * PAGES_PER_MIB;
  memory = allocate(pages * PAGE_WORDS * sizeof(u64));
  generation = allocate(pages * sizeof(u32));
  for (u64 page = 0; page < pages; page++) write_page(page);
  say("filled MiB ", pages / PAGES_PER_MIB);
  check_for_ever(pages, hot_pages);
}
