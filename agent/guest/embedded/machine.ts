import { TICKS_PER_SECOND } from './clint.js';
import { ConsoleTail } from './console-tail.js';
import { INTERRUPT_SOFTWARE, INTERRUPT_TIMER, MSTATUS_MIE } from './control-registers.js';
import { Hart } from './hart.js';
import { DeviceBus } from './device-bus.js';
import { createDecodeCache, execute } from './interpreter.js';
import { decodeMachineState, encodeMachineState } from './machine-state.js';

const INTERRUPT_BIT = 0x8000_0000 | 0;

/** Why run() returned. */
export type Stop =
  /** It has executed as many steps as it was given. */
  | 'steps'
  /** It waits for an interrupt (wfi): time has to move on, see secondsToTimer() and skipToTimer(). */
  | 'waiting'
  /** It has retired as many instructions as `stopAt` says. */
  | 'stopped'
  /** It has powered itself off. */
  | 'finished';

/**
 * The whole machine: hart, RAM, devices. Deterministic: what it does depends on its state, its memory and the input
 * it is given alone, and not on how its run is cut into calls of run().
 */
export class Machine {
  readonly hart: Hart;
  readonly console = new ConsoleTail();
  /** Count of retired instructions at which run() stops; Infinity: never. */
  readonly stopAt: number;
  readonly #ram: SharedArrayBuffer;
  readonly #bus: DeviceBus;
  readonly #decoded = createDecodeCache();

  constructor(ram: SharedArrayBuffer, stopAt = Infinity) {
    this.#ram = ram;
    this.stopAt = stopAt;
    this.#bus = new DeviceBus((byte) => this.console.push(byte));
    this.hart = new Hart(ram, this.#bus);
  }

  /** Exit code of a machine that has powered itself off: 0 for "pass"; -1 before. */
  get exitCode(): number {
    return this.#bus.exitCode;
  }

  /**
   * Executes at most `steps` instructions, those that end in a trap included. Returns early for the reasons that
   * Stop lists, at once if one of them holds already.
   */
  run(steps: number): Stop {
    const hart = this.hart;
    const control = hart.control;
    let left = steps;
    for (;;) {
      if (this.#bus.exitCode >= 0) return 'finished';
      if (hart.retired >= this.stopAt) return 'stopped';
      const pending = control.pending(hart.retired) & control.mie;
      if (pending !== 0) {
        hart.waiting = false;
        if ((control.mstatus & MSTATUS_MIE) !== 0) {
          const software = (pending & (1 << INTERRUPT_SOFTWARE)) !== 0;
          hart.trap(INTERRUPT_BIT | (software ? INTERRUPT_SOFTWARE : INTERRUPT_TIMER), 0);
        }
      }
      if (hart.waiting) return 'waiting';
      if (left <= 0) return 'steps';
      // The timer interrupt comes up at a known count; steps that trap retire nothing, so it cannot be passed.
      const toTimer = this.#bus.clint.deadline - hart.retired;
      const toStop = this.stopAt - hart.retired;
      left -= execute(hart, this.#decoded, Math.min(left, toTimer > 0 ? toTimer : Infinity, toStop));
    }
  }

  /** Guest time from now to the timer interrupt, which a waiting hart waits for; Infinity if it is not enabled. */
  secondsToTimer(): number {
    if ((this.hart.control.mie & (1 << INTERRUPT_TIMER)) === 0) return Infinity;
    return this.#bus.clint.ticksToTimer(this.hart.retired) / TICKS_PER_SECOND;
  }

  /** Guest time since boot, in seconds, as mtime has it. */
  guestSeconds(): number {
    return Number(this.#bus.clint.time(this.hart.retired)) / TICKS_PER_SECOND;
  }

  /** Lets the time pass that a waiting hart waits for. */
  skipToTimer(): void {
    this.#bus.clint.skipToTimer(this.hart.retired);
  }

  /** Gives the UART input. Throws limit-exceeded if more waits than is kept. */
  input(data: Uint8Array): void {
    this.#bus.uart.input(data);
  }

  /** All of it but the memory, as bytes: see machine-state.ts. */
  save(): Uint8Array {
    const hart = this.hart;
    return encodeMachineState({
      memoryBytes: this.#ram.byteLength,
      registers: hart.registers.slice(0, 32),
      pc: hart.pc,
      retired: hart.retired,
      waiting: hart.waiting,
      reservation: hart.reservation,
      control: hart.control.save(),
      clint: this.#bus.clint.save(),
      uart: this.#bus.uart.save(),
      exitCode: this.#bus.exitCode,
      console: { end: this.console.end, tail: this.console.read(this.console.start) },
    });
  }

  /** Becomes what save() wrote. Throws load-failed and stays what it was if `data` is no such state. */
  load(data: Uint8Array): void {
    const state = decodeMachineState(data, this.#ram.byteLength);
    const hart = this.hart;
    hart.registers.set(state.registers);
    hart.pc = state.pc;
    hart.retired = state.retired;
    hart.waiting = state.waiting;
    hart.reservation.offset = state.reservation.offset;
    hart.reservation.value = state.reservation.value;
    hart.control.load(state.control);
    this.#bus.clint.load(state.clint, state.retired);
    this.#bus.uart.load(state.uart);
    this.#bus.exitCode = state.exitCode;
    this.console.load(state.console.end, state.console.tail);
  }
}
