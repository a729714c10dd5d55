import { MigrationError } from '../../../shared/errors.js';

/** Bytes of input that wait beyond the receiver's own; bounds what a console client can make the agent hold. */
export const MAX_PENDING_INPUT_BYTES = 64 * 1024;

const FIFO_BYTES = 16;

const IER_RECEIVE = 0x01;
const IER_TRANSMIT_EMPTY = 0x02;
const IIR_NONE = 0x01;
const IIR_TRANSMIT_EMPTY = 0x02;
const IIR_RECEIVE = 0x04;
const IIR_FIFOS_ENABLED = 0xc0;
const FCR_ENABLE = 0x01;
const FCR_CLEAR_RECEIVE = 0x02;
const LCR_DLAB = 0x80;
const MCR_LOOPBACK = 0x10;
const LSR_DATA_READY = 0x01;
const LSR_TRANSMITTER_EMPTY = 0x60;
const MSR_CONNECTED = 0xb0;

/** All that a UART is, for the state codec; registers are bytes. */
export interface UartState {
  interruptEnable: number;
  fifoControl: number;
  lineControl: number;
  modemControl: number;
  scratch: number;
  divisor: number;
  transmitEmptyPending: boolean;
  lastReceived: number;
  received: Uint8Array;
  pending: Uint8Array;
}

/**
 * The 16550 of QEMU's virt board, without its interrupt line (this machine has no interrupt controller beside the
 * CLINT). It transmits at once; input waits in the receiver (one byte, sixteen with the FIFO) and behind it in a
 * bounded queue, as in QEMU it waits in the character device, so that nothing overruns.
 */
export class Uart {
  readonly #transmit: (byte: number) => void;
  #interruptEnable = 0;
  #fifoControl = 0;
  #lineControl = 0;
  #modemControl = 0x08;
  #scratch = 0;
  #divisor = 0x0c;
  #transmitEmptyPending = false;
  #lastReceived = 0;
  #received: number[] = [];
  #pending: number[] = [];

  /** `transmit` takes each byte that the guest sends. */
  constructor(transmit: (byte: number) => void) {
    this.#transmit = transmit;
  }

  /** Queues input. Throws limit-exceeded, having taken none of it, if it is more than fits. */
  input(data: Uint8Array): void {
    if (this.#pending.length + data.length > MAX_PENDING_INPUT_BYTES) {
      throw new MigrationError(
        'limit-exceeded',
        `console input of ${data.length} bytes does not fit: ${this.#pending.length} of at most ` +
          `${MAX_PENDING_INPUT_BYTES} bytes wait already; send more once the guest has read them`,
      );
    }
    for (const byte of data) this.#pending.push(byte);
    this.#refill();
  }

  /** Register `index`, 0 to 7. */
  read(index: number): number {
    switch (index) {
      case 0:
        if (this.#lineControl & LCR_DLAB) return this.#divisor & 0xff;
        return this.#receive();
      case 1:
        return this.#lineControl & LCR_DLAB ? this.#divisor >>> 8 : this.#interruptEnable;
      case 2:
        return this.#identifyInterrupt();
      case 3:
        return this.#lineControl;
      case 4:
        return this.#modemControl;
      case 5:
        return LSR_TRANSMITTER_EMPTY | (this.#received.length > 0 ? LSR_DATA_READY : 0);
      case 6:
        return this.#modemStatus();
      default:
        return this.#scratch;
    }
  }

  /** Writes `value`, a byte, to register `index`, 0 to 7. */
  write(index: number, value: number): void {
    switch (index) {
      case 0:
        if (this.#lineControl & LCR_DLAB) this.#divisor = (this.#divisor & 0xff00) | value;
        else this.#send(value);
        break;
      case 1:
        if (this.#lineControl & LCR_DLAB) this.#divisor = (this.#divisor & 0xff) | (value << 8);
        else this.#enableInterrupts(value & 0x0f);
        break;
      case 2:
        this.#controlFifo(value);
        break;
      case 3:
        this.#lineControl = value;
        break;
      case 4:
        this.#modemControl = value & 0x1f;
        this.#refill();
        break;
      case 5:
      case 6:
        break;
      default:
        this.#scratch = value;
    }
  }

  save(): UartState {
    return {
      interruptEnable: this.#interruptEnable,
      fifoControl: this.#fifoControl,
      lineControl: this.#lineControl,
      modemControl: this.#modemControl,
      scratch: this.#scratch,
      divisor: this.#divisor,
      transmitEmptyPending: this.#transmitEmptyPending,
      lastReceived: this.#lastReceived,
      received: Uint8Array.from(this.#received),
      pending: Uint8Array.from(this.#pending),
    };
  }

  /** Takes over a state whose fields are in their ranges; see machine-state.ts. */
  load(state: UartState): void {
    this.#interruptEnable = state.interruptEnable;
    this.#fifoControl = state.fifoControl;
    this.#lineControl = state.lineControl;
    this.#modemControl = state.modemControl;
    this.#scratch = state.scratch;
    this.#divisor = state.divisor;
    this.#transmitEmptyPending = state.transmitEmptyPending;
    this.#lastReceived = state.lastReceived;
    this.#received = [...state.received];
    this.#pending = [...state.pending];
  }

  #send(byte: number): void {
    this.#transmitEmptyPending = true;
    if (this.#modemControl & MCR_LOOPBACK) this.#accept(byte);
    else this.#transmit(byte);
  }

  #receive(): number {
    const byte = this.#received.shift();
    if (byte !== undefined) this.#lastReceived = byte;
    this.#refill();
    return this.#lastReceived;
  }

  #accept(byte: number): void {
    const capacity = this.#fifoControl & FCR_ENABLE ? FIFO_BYTES : 1;
    if (this.#received.length < capacity) this.#received.push(byte);
    else if (capacity === 1) this.#received[0] = byte;
  }

  #refill(): void {
    // In loopback the receiver hears itself alone.
    if (this.#modemControl & MCR_LOOPBACK) return;
    const capacity = this.#fifoControl & FCR_ENABLE ? FIFO_BYTES : 1;
    const free = capacity - this.#received.length;
    if (free > 0 && this.#pending.length > 0) this.#received.push(...this.#pending.splice(0, free));
  }

  #enableInterrupts(value: number): void {
    const newly = value & ~this.#interruptEnable;
    if (newly & IER_TRANSMIT_EMPTY) this.#transmitEmptyPending = true;
    this.#interruptEnable = value;
  }

  #identifyInterrupt(): number {
    const fifos = this.#fifoControl & FCR_ENABLE ? IIR_FIFOS_ENABLED : 0;
    if (this.#interruptEnable & IER_RECEIVE && this.#received.length > 0) return fifos | IIR_RECEIVE;
    if (this.#interruptEnable & IER_TRANSMIT_EMPTY && this.#transmitEmptyPending) {
      this.#transmitEmptyPending = false;
      return fifos | IIR_TRANSMIT_EMPTY;
    }
    return fifos | IIR_NONE;
  }

  #controlFifo(value: number): void {
    const toggled = (value ^ this.#fifoControl) & FCR_ENABLE;
    if (toggled || value & FCR_CLEAR_RECEIVE) this.#received = [];
    this.#fifoControl = value & (FCR_ENABLE | IIR_FIFOS_ENABLED);
    this.#refill();
  }

  #modemStatus(): number {
    if (!(this.#modemControl & MCR_LOOPBACK)) return MSR_CONNECTED;
    // Loopback wires the outputs to the inputs: RTS to CTS, DTR to DSR, OUT1 to RI, OUT2 to DCD.
    const control = this.#modemControl;
    return ((control & 0x0c) << 4) | ((control & 0x02) << 3) | ((control & 0x01) << 5);
  }
}
