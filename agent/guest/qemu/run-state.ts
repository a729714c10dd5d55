import { unixNow } from '../../../shared/unix-clock.js';
import type { GuestState } from '../guest.js';
import type { QemuControl } from './qemu-control.js';
import type { QmpEvent } from './qmp/qmp-message.js';

/** QEMU's run states in which the machine has powered itself off or can't go on; see RunState in QEMU's qapi/run-state.json. */
const FINISHED = ['shutdown', 'guest-panicked', 'internal-error'];

/** What QEMU's run state, as query-status tells it, means for a guest. */
export function guestStateOf(runState: string): GuestState {
  if (FINISHED.includes(runState)) return 'finished';
  // A suspended guest is woken by its devices.
  return runState === 'running' || runState === 'suspended' ? 'running' : 'paused';
}

/** The state that an event tells of; null where it tells of none. */
export function stateAfter(event: QmpEvent, before: GuestState): GuestState | null {
  switch (event.name) {
    case 'RESUME':
    case 'WAKEUP':
      return 'running';
    case 'STOP':
      // Powering off stops the machine too; migrating stops it whatever it was before.
      return before === 'finished' ? 'finished' : 'paused';
    case 'SHUTDOWN':
      return 'finished';
    case 'GUEST_PANICKED':
      return event.data.action === 'run' ? null : 'finished';
    default:
      return null;
  }
}

/** What a guest does, as QEMU tells it. */
export class RunState {
  /** When it began to run, and when it was stopped, as of the last time. Unix ms */
  runningSince = unixNow();
  stoppedAt = unixNow();
  /** Called for each change that QEMU tells. */
  onChange: () => void = () => undefined;
  readonly #control: Pick<QemuControl, 'qmp' | 'execute'>;
  #state: GuestState;
  /** Events that told of a state. */
  #told = 0;
  #deaf = false;

  constructor(control: Pick<QemuControl, 'qmp' | 'execute'>, state: GuestState) {
    this.#control = control;
    this.#state = state;
    control.qmp.onEvent((event) => this.#hear(event));
  }

  get state(): GuestState {
    return this.#state;
  }

  /** What it is known to be from elsewhere. */
  set state(state: GuestState) {
    this.#state = state;
  }

  /** Asks QEMU: what it told before anybody listened is known by that alone, and what it told may be out of date. */
  async refresh(): Promise<void> {
    for (;;) {
      const told = this.#told;
      const { status } = (await this.#control.execute('query-status')) as { status: string };
      // An event that came meanwhile may be newer than the answer.
      if (told !== this.#told) continue;
      const state = guestStateOf(status);
      // A machine that has powered itself off is no less finished for having been moved or paused since.
      if (this.#state !== 'finished' || state === 'running') this.#become(state);
      return;
    }
  }

  /** Runs an operation whose events tell nothing about what the guest is to whoever uses it. */
  async ignoring(operation: () => Promise<void>): Promise<void> {
    this.#deaf = true;
    try {
      await operation();
    } finally {
      this.#deaf = false;
    }
  }

  /** No event means anything any more. */
  end(): void {
    this.#deaf = true;
  }

  #hear(event: QmpEvent): void {
    if (this.#deaf) return;
    if (event.name === 'RESUME') this.runningSince = event.at;
    if (event.name === 'STOP') this.stoppedAt = event.at;
    const state = stateAfter(event, this.#state);
    if (state === null) return;
    this.#told += 1;
    this.#become(state);
  }

  #become(state: GuestState): void {
    if (state === this.#state) return;
    this.#state = state;
    this.onChange();
  }
}
