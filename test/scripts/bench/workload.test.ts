import t from 'tap';
import { definitionOf } from '../../../scripts/bench/bench-guest.js';
import { guestsOf, linksOf, sizesOf } from '../../../scripts/bench/bench-options.js';
import { guestsOfSizes } from '../../../scripts/bench/scale-bench.js';
import { embeddedProgram, linuxLoad, parseWorkload, workloadLabel } from '../../../scripts/bench/workload.js';

const MIB = 2 ** 20;
const GIB = 2 ** 30;

void t.test('workloads as they are written, and as they are shown', (t) => {
  for (const [text, label] of [
    ['idle', 'idle'],
    ['idle+zero-rich', 'idle, zero-rich'],
    ['rewrite:8MiB', 'rewrite 8.0 MiB'],
    ['rewrite:64MiB@16MB', 'rewrite 64.0 MiB at 16.0 MB/s'],
    ['rewrite:1MiB@128kB/s+compressible', 'rewrite 1.0 MiB at 128.0 kB/s, compressible'],
    ['xor', 'random xor'],
    ['read+incompressible', 'read-mostly'],
  ] as const) {
    t.equal(workloadLabel(parseWorkload(text)), label, text);
  }
  for (const text of [
    '',
    'sleep',
    'rewrite',
    'rewrite:',
    'rewrite:0MiB',
    'rewrite:1KiB',
    'idle:8MiB',
    'idle+wet',
  ]) {
    t.throws(() => parseWorkload(text), { code: 'invalid-request' }, text);
  }
  t.end();
});

void t.test('what the guests are told', (t) => {
  t.same(linuxLoad(parseWorkload('rewrite:8MiB@4096kB'), 40.5 * MIB), {
    ...{ activity: 'rewrite', content: 'incompressible', mib: 40, hotMiB: 8, pagesPerSecond: 1000 },
  });
  t.match(embeddedProgram(parseWorkload('rewrite:1MiB'), 8 * MIB), {
    program: 'checksum',
    parameters: { workingSetPages: 2048, hotPages: 256 },
  });
  t.match(embeddedProgram(parseWorkload('xor'), 8 * MIB), { parameters: { hotPages: 0 } });
  t.match(embeddedProgram(parseWorkload('rewrite:1MiB@4096kB'), 8 * MIB), {
    program: 'dirty',
    parameters: { workingSetPages: 256, pagesPerSecond: 1000 },
  });
  t.throws(() => embeddedProgram(parseWorkload('read'), 8 * MIB), { code: 'invalid-request' });
  t.end();
});

void t.test('guests × workloads, links, sizes', (t) => {
  const options = { guest: 'qemu,embedded', memory: '1GiB', populated: '500MiB', workload: 'idle, xor' };
  t.same(
    guestsOf(options).map(({ kind, workload }) => [kind, workload.activity]),
    [
      ['qemu', 'idle'],
      ['qemu', 'xor'],
      ['embedded', 'idle'],
      ['embedded', 'xor'],
    ],
  );
  t.same(linksOf('1gbit,none'), [125e6, null]);
  t.throws(() => linksOf('fast'), { code: 'invalid-request', message: /^--link: / });
  t.same(sizesOf('memory', '1MiB,2MiB'), [MIB, 2 * MIB]);
  t.same(
    guestsOfSizes([4 * GIB, 8 * GIB], [GIB, 2 * GIB, 3 * GIB]).map((guest) => [
      guest.memoryBytes / GIB,
      guest.populatedBytes / GIB,
    ]),
    [
      [4, 1],
      [8, 1],
      [8, 2],
      [8, 3],
    ],
  );
  const impossible = { guest: 'embedded', memory: '16MiB', populated: '8MiB', workload: 'idle,read' };
  t.throws(() => guestsOf(impossible), { code: 'invalid-request', message: /use --guest qemu/ });
  t.throws(() => guestsOfSizes([GIB], [GIB, 2 * GIB]), { code: 'invalid-request', message: /no room/ });
  t.end();
});

void t.test('a workload must fit what the guest has left', (t) => {
  const guest = { kind: 'embedded', memoryBytes: 16 * MIB, populatedBytes: 4 * MIB } as const;
  const define = (text: string) =>
    definitionOf({ ...guest, workload: parseWorkload(text) }, 'one', { initrd: '', accel: '' });
  t.match(define('rewrite:4MiB'), { name: 'one', kind: 'embedded', program: 'checksum' });
  t.throws(() => define('rewrite:5MiB'), { code: 'invalid-request', message: /no room/ });
  t.end();
});
