import t from 'tap';
import { PROGRAM_BYTES } from '../../agent/guest/embedded/programs/program.js';
import { Machine } from '../../agent/guest/embedded/machine.js';
import { PAGE_SIZE } from '../../shared/page.js';
import { patternProgram, PatternReference } from './pattern-program.js';

const MEMORY = 2 ** 20;

/** Lets it print so many bytes at least; all that it printed. */
function printed(machine: Machine, bytes: number): string {
  while (machine.console.end < bytes) {
    if (machine.run(1000) === 'waiting') machine.skipToTimer();
  }
  return Buffer.from(machine.console.read(0)).toString('latin1');
}

function start() {
  const ram = new SharedArrayBuffer(MEMORY);
  new Uint8Array(ram).set(patternProgram(MEMORY));
  return { ram, machine: new Machine(ram) };
}

await t.test('it prints what the reference does', (t) => {
  const text = printed(start().machine, 1000);
  t.match(text, /^pass 1 \w{8}\npass 2 \w{8}\n/);
  t.equal(text, new PatternReference(MEMORY).transcript(text.length));
  t.end();
});

await t.test('a page that is not what it was shows', (t) => {
  for (const page of [0, 100, (MEMORY - PROGRAM_BYTES) / PAGE_SIZE - 1]) {
    const { ram, machine } = start();
    const before = printed(machine, 500).length;
    // All of the page: the place that is read next is one of its words.
    new Uint8Array(ram).fill(0x5a, PROGRAM_BYTES + page * PAGE_SIZE, PROGRAM_BYTES + (page + 1) * PAGE_SIZE);
    const text = printed(machine, before + 100);
    t.not(text, new PatternReference(MEMORY).transcript(text.length), `page ${page}`);
  }
  t.end();
});
