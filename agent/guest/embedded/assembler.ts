import { CSR, type CsrName } from './csr-addresses.js';
import * as encoding from './instruction-encoding.js';
import type { Register } from './instruction-encoding.js';

export type { Register } from './instruction-encoding.js';

/** A word whose bits depend on a label that may be defined after it. */
interface Reference {
  readonly at: number;
  readonly label: string;
  readonly encode: (target: number, address: number) => number;
}

function csrAddress(csr: CsrName | number): number {
  return typeof csr === 'number' ? csr : CSR[csr];
}

/**
 * Assembles RV32IMA + Zicsr into an image for a fixed address: one method per instruction format, the usual
 * pseudo-instructions, labels and data. Errors (a label defined twice or never, an operand out of range) are
 * RangeErrors: they are mistakes in the program's source.
 */
export class Assembler {
  /** Address of the image's first byte. */
  readonly origin: number;
  readonly #bytes: number[] = [];
  readonly #labels = new Map<string, number>();
  readonly #references: Reference[] = [];

  constructor(origin: number) {
    this.origin = origin;
  }

  /** Address of what comes next. */
  get here(): number {
    return this.origin + this.#bytes.length;
  }

  label(name: string): this {
    if (this.#labels.has(name)) throw new RangeError(`label ${name} is defined twice`);
    this.#labels.set(name, this.here);
    return this;
  }

  /** Address of a label that is defined already. */
  addressOf(name: string): number {
    const address = this.#labels.get(name);
    if (address === undefined) throw new RangeError(`label ${name} is not defined`);
    return address;
  }

  /** A word as it is, instruction or data. */
  word(value: number): this {
    this.#bytes.push(value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, (value >>> 24) & 0xff);
    return this;
  }

  bytes(data: Iterable<number>): this {
    for (const byte of data) this.#bytes.push(byte & 0xff);
    return this;
  }

  /** The text as Latin-1, with a zero byte at its end, padded to a whole word. */
  text(content: string): this {
    return this.bytes(Buffer.from(`${content}\0`, 'latin1')).align(4);
  }

  /** Zero bytes up to a multiple of `bytes`. */
  align(bytes: number): this {
    while (this.here % bytes !== 0) this.#bytes.push(0);
    return this;
  }

  // -- instructions, one method per format

  op(name: encoding.RegisterOperation, rd: Register, rs1: Register, rs2: Register): this {
    return this.word(encoding.encodeRegister(name, rd, rs1, rs2));
  }

  opImmediate(name: encoding.ImmediateOperation, rd: Register, rs1: Register, immediate: number): this {
    return this.word(encoding.encodeImmediate(name, rd, rs1, immediate));
  }

  shift(name: encoding.ShiftOperation, rd: Register, rs1: Register, amount: number): this {
    return this.word(encoding.encodeShift(name, rd, rs1, amount));
  }

  load(name: encoding.Load, rd: Register, offset: number, base: Register): this {
    return this.word(encoding.encodeLoad(name, rd, offset, base));
  }

  store(name: encoding.Store, source: Register, offset: number, base: Register): this {
    return this.word(encoding.encodeStore(name, source, offset, base));
  }

  branch(name: encoding.Branch, rs1: Register, rs2: Register, label: string): this {
    return this.#refer(label, (target, address) => encoding.encodeBranch(name, rs1, rs2, target - address));
  }

  jal(rd: Register, label: string): this {
    return this.#refer(label, (target, address) => encoding.encodeJal(rd, target - address));
  }

  jalr(rd: Register, offset: number, base: Register): this {
    return this.word(encoding.encodeJalr(rd, offset, base));
  }

  lui(rd: Register, upper: number): this {
    return this.word(encoding.encodeUpper('lui', rd, upper));
  }

  auipc(rd: Register, upper: number): this {
    return this.word(encoding.encodeUpper('auipc', rd, upper));
  }

  atomic(name: encoding.Atomic, rd: Register, source: Register, address: Register): this {
    return this.word(encoding.encodeAtomic(name, rd, source, address));
  }

  loadReserved(rd: Register, address: Register): this {
    return this.word(encoding.encodeLoadReserved(rd, address));
  }

  csr(name: encoding.CsrOperation, rd: Register, csr: CsrName | number, source: Register): this {
    return this.word(encoding.encodeCsr(name, rd, csrAddress(csr), source));
  }

  csrImmediate(
    name: encoding.CsrImmediateOperation,
    rd: Register,
    csr: CsrName | number,
    constant: number,
  ): this {
    return this.word(encoding.encodeCsrImmediate(name, rd, csrAddress(csr), constant));
  }

  plain(name: encoding.Plain): this {
    return this.word(encoding.PLAIN[name]);
  }

  // -- pseudo-instructions

  /** `rd = value`, any 32-bit number, signed or not; one or two instructions. */
  li(rd: Register, value: number): this {
    if (!Number.isInteger(value) || value < -(2 ** 31) || value >= 2 ** 32) {
      throw new RangeError(`${value} is no 32-bit integer`);
    }
    const signed = value | 0;
    if (signed >= -2048 && signed < 2048) return this.opImmediate('addi', rd, 'zero', signed);
    // addi takes a signed number: where bit 11 is set the upper part is one more.
    const low = (signed << 20) >> 20;
    this.lui(rd, ((signed - low) >>> 12) & 0xfffff);
    return low === 0 ? this : this.opImmediate('addi', rd, rd, low);
  }

  /** `rd = address of label`; always two instructions. */
  la(rd: Register, label: string): this {
    const low = (target: number) => (target << 20) >> 20;
    this.#refer(label, (target) =>
      encoding.encodeUpper('lui', rd, ((target - low(target)) >>> 12) & 0xfffff),
    );
    return this.#refer(label, (target) => encoding.encodeImmediate('addi', rd, rd, low(target)));
  }

  mv(rd: Register, rs: Register): this {
    return this.opImmediate('addi', rd, rs, 0);
  }

  j(label: string): this {
    return this.jal('zero', label);
  }

  call(label: string): this {
    return this.jal('ra', label);
  }

  ret(): this {
    return this.jalr('zero', 0, 'ra');
  }

  /** The finished image: all labels resolved, padded to a whole word. */
  assemble(): Uint8Array {
    this.align(4);
    const image = Uint8Array.from(this.#bytes);
    const view = new DataView(image.buffer);
    for (const { at, label, encode } of this.#references) {
      view.setUint32(at, encode(this.addressOf(label), this.origin + at), true);
    }
    return image;
  }

  #refer(label: string, encode: Reference['encode']): this {
    this.#references.push({ at: this.#bytes.length, label, encode });
    return this.word(0);
  }
}
