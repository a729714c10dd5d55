import { unixNow } from '../../../shared/unix-clock.js';
import type { GuestState } from '../guest.js';
import type { QmpConnection } from './qmp/qmp-connection.js';
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

/** What a guest does, as QEMU's events tell it. */
export class RunState {
  /** When it began to run, and when it was stopped, as of the last time. Unix ms */
  runningSince = unixNow();
  stoppedAt = unixNow();
  readonly #onChange: () => void;
  #state: GuestState;
  #deaf = false;

  /** `onChange` hears of each change that QEMU tells. */
  constructor(qmp: QmpConnection, state: GuestState, onChange: () => void) {
    this.#state = state;
    this.#onChange = onChange;
    qmp.onEvent((event) => this.#hear(event));
  }

  get state(): GuestState {
    return this.#state;
  }

  /** What it is known to be from elsewhere. */
  set state(state: GuestState) {
    this.#state = state;
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
    if (state === null || state === this.#state) return;
    this.#state = state;
    this.#onChange();
  }
}
