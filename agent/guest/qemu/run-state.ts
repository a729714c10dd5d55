import type { GuestState } from '../guest.js';
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
