import fc from 'fast-check';
import { test } from 'tap';
import { checkTarget } from '../../../../agent/guest/qemu/preflight/target-rules.js';
import { guestTraits, readTraits } from '../../../../agent/guest/qemu/preflight/traits.js';
import { MigrationError } from '../../../../shared/errors.js';
import { MAX_TEXT_LENGTH, MAX_TRAITS } from '../../../../shared/protocol/messages.js';
import { BOOT_ID, CPU, definition, DISK, GIB, guestFacts, SHA256, targetFacts } from './samples.js';

void test('what a source tells is what its target reads', (t) => {
  t.same(readTraits(guestTraits(guestFacts())), {
    qemu: [7, 2, 22],
    machine: 'pc-q35-7.2',
    accel: 'tcg',
    cpu: 'qemu64',
    cpuLacks: [],
    hostCpu: null,
    pageBytes: 4096,
    kernel: SHA256,
    initrd: SHA256,
    boot: BOOT_ID,
    disks: [{ index: 0, identity: '40:1234', bytes: GIB }],
  });
  t.end();
});

void test('long lists travel in pieces that fit', (t) => {
  const flags = Array.from({ length: 200 }, (_, index) => `avx512_flag_${index}`);
  const cpuLacks = Array.from({ length: 100 }, (_, index) => `feature-${index}`);
  const disks = Array.from({ length: 64 }, (_, index) => ({ ...DISK, identity: `2049:${10 ** 12 + index}` }));
  const facts = guestFacts({ accel: 'kvm', cpuModel: 'host', hostCpu: { ...CPU, flags }, cpuLacks, disks });
  const traits = guestTraits(facts);
  t.ok(Object.keys(traits).length <= MAX_TRAITS);
  for (const [name, text] of Object.entries(traits)) t.ok(text.length <= MAX_TEXT_LENGTH, name);
  const read = readTraits(traits);
  t.same(read.hostCpu, { vendor: CPU.vendor, signature: CPU.signature, flags });
  t.same(read.cpuLacks, cpuLacks);
  t.equal(read.disks.length, 64);
  t.match(read.disks[63], { index: 63, identity: '2049:1000000000063' });
  t.end();
});

void test('nonsense is refused by name', (t) => {
  const cases: [RegExp, Record<string, string>][] = [
    [/qemu: must be like 7.2.22/, { qemu: '7.2' }],
    [/qemu: must be like 7.2.22/, { qemu: '7.2.22\n' }],
    [/machine: must be a name/, { machine: 'q35;rm' }],
    [/machine: must be a name/, { machine: 'x'.repeat(65) }],
    [/accel: /, { accel: 'xen' }],
    [/cpu: must be a name/, { cpu: '' }],
    [/cpuLacks.0: must be names/, { cpuLacks1: '<b>' }],
    [/hostFlags.1: must be names/, { hostFlags2: `a ${'b'.repeat(49)}` }],
    [/cpuLacks: must be at most 1024/, { cpuLacks1: 'a '.repeat(1025) }],
    [/hostCpu: must be a vendor/, { hostCpu: 'Intel' }],
    [/pageBytes: must be a number/, { pageBytes: '-1' }],
    [/kernel: must be a SHA-256/, { kernel: 'A'.repeat(64) }],
    [/boot: must be a boot id/, { boot: '../..' }],
    [/disks.0: must be like/, { disks1: '0=/etc/passwd=1' }],
    [/disks: must be at most 64/, { disks1: '0=1:1=1 '.repeat(65) }],
  ];
  for (const [message, change] of cases) {
    const traits = { ...guestTraits(guestFacts()), ...change };
    t.throws(
      () => readTraits(traits),
      { code: 'invalid-request', message },
      JSON.stringify(change).slice(0, 60),
    );
  }
  t.end();
});

void test('what is not known is left out', (t) => {
  const traits = { ...guestTraits(guestFacts()), colour: 'blue', toString: 'x', cpuLacks9: '<' };
  t.same(readTraits(traits), readTraits(guestTraits(guestFacts())));
  t.end();
});

void test('no source can make a target do anything but answer', (t) => {
  const known = guestTraits(guestFacts({ accel: 'kvm', cpuModel: 'host' }));
  const name = fc.oneof(fc.constantFrom(...Object.keys(known), '__proto__', 'constructor'), fc.string());
  const text = fc.oneof(fc.constantFrom(...Object.values(known)), fc.string({ maxLength: 1000 }));
  fc.assert(
    fc.property(fc.dictionary(name, text, { maxKeys: 32 }), fc.boolean(), (traits, whole) => {
      const given = whole ? { ...known, ...traits } : traits;
      try {
        readTraits(given);
      } catch (error) {
        if (!(error instanceof MigrationError)) return false;
      }
      return checkTarget(definition(), given, targetFacts()).length > 0;
    }),
    { numRuns: 500 },
  );
  t.end();
});
