import { Clint } from './clint.js';
import { CLINT_BASE, FINISHER_BASE, UART_BASE } from './memory-map.js';
import { Uart } from './uart.js';

const FINISHER_BYTES = 0x1000;
const CLINT_BYTES = 0xc000;
const UART_BYTES = 8;

/** What the guest may write to the test finisher (hw/misc/sifive_test.c). */
const FINISHER_FAIL = 0x3333;
const FINISHER_PASS = 0x5555;

/** Routes the loads and stores that are not RAM. */
export class DeviceBus {
  readonly clint = new Clint();
  readonly uart: Uart;
  /** Exit code once the guest has powered itself off; -1 before. */
  exitCode = -1;

  constructor(transmit: (byte: number) => void) {
    this.uart = new Uart(transmit);
  }

  /**
   * The value of `bytes` (1, 2 or 4) at the physical `address` (unsigned), as an unsigned number.
   * Undefined: nothing is there that takes such an access, an access fault.
   */
  load(address: number, bytes: number, retired: number): number | undefined {
    const uart = address - UART_BASE;
    // The UART's registers are bytes; wider accesses read one register, as QEMU's serial device does.
    if (uart >= 0 && uart + bytes <= UART_BYTES) return this.uart.read(uart);
    const clint = address - CLINT_BASE;
    if (clint >= 0 && clint < CLINT_BYTES && bytes === 4 && clint % 4 === 0) {
      return this.clint.read(clint, retired);
    }
    const finisher = address - FINISHER_BASE;
    if (finisher >= 0 && finisher + bytes <= FINISHER_BYTES && bytes >= 2 && finisher % bytes === 0) return 0;
    return undefined;
  }

  /** Stores the low `bytes` of `value`. False: an access fault. */
  store(address: number, bytes: number, value: number, retired: number): boolean {
    const uart = address - UART_BASE;
    if (uart >= 0 && uart + bytes <= UART_BYTES) {
      this.uart.write(uart, value & 0xff);
      return true;
    }
    const clint = address - CLINT_BASE;
    if (clint >= 0 && clint < CLINT_BYTES && bytes === 4 && clint % 4 === 0) {
      this.clint.write(clint, value, retired);
      return true;
    }
    const finisher = address - FINISHER_BASE;
    if (finisher >= 0 && finisher + bytes <= FINISHER_BYTES && bytes >= 2 && finisher % bytes === 0) {
      if (finisher === 0) this.#finish(bytes === 4 ? value : value & 0xffff);
      return true;
    }
    return false;
  }

  #finish(value: number): void {
    const status = value & 0xffff;
    if (status === FINISHER_PASS) this.exitCode = 0;
    else if (status === FINISHER_FAIL) this.exitCode = value >>> 16;
  }
}
