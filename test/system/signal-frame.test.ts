import { test } from 'tap';
import { signalFrame } from '../../agent/system/signal-frame.js';
import { REGISTER, USER_REGISTERS_BYTES } from '../../agent/system/user-registers.js';

const STACK = 0x7ffd_1234_5678n;
const CODE = 0x4000_1002n;
const READ = 0n;
// Byte offsets in struct rt_sigframe, which begins with the return address.
const RAX = 8 + 40 + 13 * 8;
const RIP = 8 + 40 + 16 * 8;
const AREA = 8 + 40 + 184;
const STACK_FLAGS = 8 + 24;
const MASK = 8 + 296;

const signalMask = Buffer.from('77faeb7fffffffff', 'hex');

function registersWith(values: Partial<Record<keyof typeof REGISTER, bigint>>): Buffer {
  const registers = Buffer.alloc(USER_REGISTERS_BYTES);
  const all = { rsp: STACK, rip: CODE, originalRax: -1n, ...values };
  for (const [name, value] of Object.entries(all))
    registers.writeBigInt64LE(value, REGISTER[name as keyof typeof REGISTER]);
  return registers;
}

/** An XSAVE area as ptrace has it. */
function areaOf(bytes: number, features: bigint, inUse: bigint): Buffer {
  const area = Buffer.alloc(bytes);
  area.writeBigUInt64LE(features, 464);
  area.writeBigUInt64LE(inUse, 512);
  return area;
}

const plain = areaOf(832, 7n, 7n);

void test('it lies below the red zone, with the area aligned', (t) => {
  const { at, bytes } = signalFrame({ registers: registersWith({}), signalMask, extendedState: plain }, 77n);
  t.ok(at + BigInt(bytes.length) <= STACK - 128n);
  t.equal(bytes.readBigUInt64LE(), 77n);
  const area = bytes.readBigUInt64LE(AREA);
  t.equal(area % 64n, 0n);
  t.equal(bytes.length, Number(area - at) + plain.length + 4, 'a mark comes after the area');
  t.end();
});

void test('the mask is in it, and of the alternative stack what the kernel refuses', (t) => {
  const { bytes } = signalFrame({ registers: registersWith({}), signalMask, extendedState: plain }, 0n);
  t.same(bytes.subarray(MASK, MASK + 8), signalMask);
  t.notOk([0, 1, 2].includes(bytes.readUInt32LE(STACK_FLAGS)), 'neither on, nor off, nor none');
  t.end();
});

void test('without XSAVE the area is as it is told', (t) => {
  const extendedState = Buffer.alloc(512, 0xa5);
  const { at, bytes } = signalFrame({ registers: registersWith({}), signalMask, extendedState }, 0n);
  t.same(bytes.subarray(Number(bytes.readBigUInt64LE(AREA) - at)), extendedState);
  t.end();
});

void test('a system call that was interrupted is made again, or fails as after a handler', (t) => {
  const cases = [
    { call: READ, result: 5n, rax: 5n, rip: CODE },
    { call: READ, result: -512n, rax: READ, rip: CODE - 2n },
    { call: READ, result: -513n, rax: READ, rip: CODE - 2n },
    { call: READ, result: -514n, rax: -4n, rip: CODE },
    { call: READ, result: -516n, rax: -4n, rip: CODE },
    { call: -1n, result: -512n, rax: -512n, rip: CODE },
  ];
  for (const { call, result, rax, rip } of cases) {
    const registers = registersWith({ originalRax: call, rax: result });
    const { bytes } = signalFrame({ registers, signalMask, extendedState: plain }, 0n);
    t.same([bytes.readBigInt64LE(RAX), bytes.readBigInt64LE(RIP)], [rax, rip], `${call} that told ${result}`);
  }
  t.end();
});

void test('AMX tiles are in the area of a thread that has used them alone, as the kernel has it', (t) => {
  const tiles = 1n << 18n;
  for (const [inUse, bytes] of [
    [7n, 2816],
    [7n | tiles, 11_008],
  ] as const) {
    const extendedState = areaOf(11_008, 7n | tiles, inUse);
    const frame = signalFrame({ registers: registersWith({}), signalMask, extendedState }, 0n);
    const area = frame.bytes.subarray(Number(frame.bytes.readBigUInt64LE(AREA) - frame.at));
    t.equal(area.readUInt32LE(464 + 16), bytes);
    t.equal(area.readUInt32LE(464 + 4), bytes + 4);
    t.equal(area.readBigUInt64LE(464 + 8), inUse);
    t.equal(area.readUInt32LE(bytes), 0x46505845);
  }
  t.end();
});
