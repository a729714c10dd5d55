import { connect, type Socket } from 'node:net';
import { MigrationError, toMigrationError } from '../../../shared/errors.js';
import type { QemuControl } from './qemu-control.js';
import { queryMigration, setCapabilities } from './saving-state.js';

/**
 * Makes a QEMU that was started with '-incoming defer' wait for a state at the socket `path`. Disks stay the source's
 * until the guest runs, and the network is not told of the guest until then: the agent does that.
 */
export async function awaitState(control: QemuControl, path: string): Promise<void> {
  await setCapabilities(control, ['events', 'x-ignore-shared', 'late-block-activate'], true);
  await control.execute('migrate-set-parameters', { 'announce-rounds': 0 });
  await control.execute('migrate-incoming', { uri: `unix:${path}` });
}

/**
 * Loads a stream that QEMU has saved. `runs`: the guest will run; one that stays paused takes its disks over now, or QEMU
 * 7.2 would fail an assertion when it is to give them away again without having run. Throws load-failed.
 */
export async function loadState(
  control: QemuControl,
  path: string,
  stream: Uint8Array,
  runs: boolean,
): Promise<void> {
  const forget = new AbortController();
  const loaded = control.event(
    ({ name, data }) => name === 'MIGRATION' && ['completed', 'failed'].includes(String(data.status)),
    forget.signal,
  );
  let socket: Socket | undefined;
  try {
    if (!runs) await setCapabilities(control, ['late-block-activate'], false);
    socket = connect(path);
    // How QEMU takes it is told by its events, or by its end.
    socket.on('error', () => undefined);
    socket.end(stream);
    const event = await control.guard(loaded);
    if (event.data.status === 'completed') return;
    throw new Error((await queryMigration(control))['error-desc'] ?? 'QEMU gives no reason');
  } catch (error) {
    const reason = toMigrationError(error).message;
    throw new MigrationError(
      'load-failed',
      `QEMU could not load the state of the guest's devices: ${reason}`,
      {
        cause: error,
      },
    );
  } finally {
    forget.abort();
    socket?.destroy();
  }
}

/** Tells switches where the guest is now, as often as QEMU does after a migration of its own. ms */
export async function announce(control: QemuControl): Promise<void> {
  await control.execute('announce-self', { initial: 50, max: 550, rounds: 5, step: 100 });
}
