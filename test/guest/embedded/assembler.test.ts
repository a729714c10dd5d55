import { test } from 'tap';
import { Assembler } from '../../../agent/guest/embedded/assembler.js';

function words(build: (program: Assembler) => unknown): string[] {
  const program = new Assembler(0x80000000);
  build(program);
  const image = program.assemble();
  const view = new DataView(image.buffer);
  return Array.from({ length: image.length / 4 }, (_, index) =>
    view
      .getUint32(index * 4, true)
      .toString(16)
      .padStart(8, '0'),
  );
}

void test('every format is encoded as the specification shows it', (t) => {
  const golden: [string, (program: Assembler) => unknown, string][] = [
    ['add s0, a0, a1', (p) => p.op('add', 's0', 'a0', 'a1'), '00b50433'],
    ['sub t6, zero, ra', (p) => p.op('sub', 't6', 'zero', 'ra'), '40100fb3'],
    ['mulhu a0, a1, a2', (p) => p.op('mulhu', 'a0', 'a1', 'a2'), '02c5b533'],
    ['remu a0, a1, a2', (p) => p.op('remu', 'a0', 'a1', 'a2'), '02c5f533'],
    ['addi ra, zero, 5', (p) => p.opImmediate('addi', 'ra', 'zero', 5), '00500093'],
    ['addi sp, sp, -16', (p) => p.opImmediate('addi', 'sp', 'sp', -16), 'ff010113'],
    ['andi a0, a0, 255', (p) => p.opImmediate('andi', 'a0', 'a0', 255), '0ff57513'],
    ['slli a0, a0, 31', (p) => p.shift('slli', 'a0', 'a0', 31), '01f51513'],
    ['srai a0, a0, 4', (p) => p.shift('srai', 'a0', 'a0', 4), '40455513'],
    ['lw a0, 8(sp)', (p) => p.load('lw', 'a0', 8, 'sp'), '00812503'],
    ['lbu t0, -1(a1)', (p) => p.load('lbu', 't0', -1, 'a1'), 'fff5c283'],
    ['sw a0, 8(sp)', (p) => p.store('sw', 'a0', 8, 'sp'), '00a12423'],
    ['sb a0, -2048(sp)', (p) => p.store('sb', 'a0', -2048, 'sp'), '80a10023'],
    ['lui a0, 0x12345', (p) => p.lui('a0', 0x12345), '12345537'],
    ['auipc gp, 1', (p) => p.auipc('gp', 1), '00001197'],
    ['jalr zero, 0(ra)', (p) => p.ret(), '00008067'],
    ['lr.w a0, (a1)', (p) => p.loadReserved('a0', 'a1'), '1005a52f'],
    ['sc.w a0, a2, (a1)', (p) => p.atomic('sc.w', 'a0', 'a2', 'a1'), '18c5a52f'],
    ['amoadd.w a0, a2, (a1)', (p) => p.atomic('amoadd.w', 'a0', 'a2', 'a1'), '00c5a52f'],
    ['amomaxu.w a0, a2, (a1)', (p) => p.atomic('amomaxu.w', 'a0', 'a2', 'a1'), 'e0c5a52f'],
    ['csrrw zero, mtvec, t0', (p) => p.csr('csrrw', 'zero', 'mtvec', 't0'), '30529073'],
    ['csrrsi zero, mstatus, 8', (p) => p.csrImmediate('csrrsi', 'zero', 'mstatus', 8), '30046073'],
    ['ecall', (p) => p.plain('ecall'), '00000073'],
    ['ebreak', (p) => p.plain('ebreak'), '00100073'],
    ['mret', (p) => p.plain('mret'), '30200073'],
    ['wfi', (p) => p.plain('wfi'), '10500073'],
    ['fence.i', (p) => p.plain('fence.i'), '0000100f'],
    ['fence', (p) => p.plain('fence'), '0ff0000f'],
  ];
  for (const [text, build, word] of golden) t.same(words(build), [word], text);
  t.end();
});

void test('branches and jumps reach labels before and after them', (t) => {
  t.same(
    words((p) => p.label('back').j('on').branch('bne', 'a0', 'a1', 'back').label('on').call('back')),
    ['0080006f', 'feb51ee3', 'ff9ff0ef'],
  );
  t.end();
});

void test('li takes any 32-bit number, la any address', (t) => {
  t.same(
    words((p) => p.li('a0', -1)),
    ['fff00513'],
  );
  t.same(
    words((p) => p.li('a0', 0x12345000)),
    ['12345537'],
  );
  // The lower part is negative: the upper one makes up for it.
  t.same(
    words((p) => p.li('a0', 0x12345fff)),
    ['12346537', 'fff50513'],
  );
  t.same(
    words((p) => p.li('a0', 0xffffffff)),
    ['fff00513'],
  );
  t.same(
    words((p) => p.la('a0', 'data').label('data').word(7)),
    ['80000537', '00850513', '00000007'],
  );
  t.end();
});

void test('mistakes in a source are named', (t) => {
  const failing: [RegExp, (program: Assembler) => unknown][] = [
    [
      /immediate of addi 2048 is not an integer of -2048 to 2047/,
      (p) => p.opImmediate('addi', 'a0', 'a0', 2048),
    ],
    [/shift amount of slli 32/, (p) => p.shift('slli', 'a0', 'a0', 32)],
    [/offset of sw -2049/, (p) => p.store('sw', 'a0', -2049, 'a0')],
    [/label nowhere is not defined/, (p) => p.j('nowhere')],
    [/label twice is defined twice/, (p) => p.label('twice').label('twice')],
    [/4294967296 is no 32-bit integer/, (p) => p.li('a0', 2 ** 32)],
    [
      /half the offset of beq/,
      (p) => p.branch('beq', 'a0', 'a0', 'far').bytes(new Uint8Array(5000)).align(4).label('far'),
    ],
  ];
  for (const [message, build] of failing) t.throws(() => words(build), { message });
  t.end();
});
