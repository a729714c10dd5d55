import { connect, type Socket } from 'node:net';
import { MigrationError, toMigrationError } from '../../../shared/errors.js';
import { systemTimers } from '../../../shared/timers.js';
import { type QemuControl, STEP_MS } from './qemu-control.js';
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
 * Has a guest that stays paused take its disks over as soon as it is loaded: QEMU 7.2 would fail an assertion when it is to
 * give them away again without having run. To be called before the end of what is loaded.
 */
export async function activateDisksOnLoad(control: QemuControl): Promise<void> {
  await setCapabilities(control, ['late-block-activate'], false);
}

/**
 * Loads a stream that QEMU has saved, as it comes: QEMU waits for the next of it. Throws load-failed where QEMU can't load
 * it, and what the stream throws.
 */
export async function loadState(
  control: QemuControl,
  path: string,
  stream: AsyncIterable<Uint8Array>,
): Promise<void> {
  const forget = new AbortController();
  const { signal } = forget;
  // Without a limit: the source may verify all memory before the last of it comes.
  const loaded = control.qmp.nextEvent(
    ({ name, data }) => name === 'MIGRATION' && ['completed', 'failed'].includes(String(data.status)),
    { signal },
  );
  const socket = connect(path);
  let cancelLimit: () => void = () => undefined;
  const limit = () => {
    const text = `QEMU has not loaded the state of the guest's devices within ${STEP_MS} ms`;
    cancelLimit = systemTimers.after(STEP_MS, () => forget.abort(new MigrationError('load-failed', text)));
  };
  try {
    // How QEMU takes it is told by its events, or by its end.
    socket.on('error', () => undefined);
    const outcome = control.guard(loaded);
    const fed = feed(socket, stream, signal);
    const finished = fed.then(async () => {
      if (!signal.aborted) limit();
      return await outcome;
    });
    const event = await Promise.race([outcome, finished]);
    if (event.data.status === 'completed') {
      // The end tells that it is what the source has sent.
      await fed;
      return;
    }
    throw new Error((await queryMigration(control))['error-desc'] ?? 'QEMU gives no reason');
  } catch (error) {
    if (error instanceof MigrationError && error.code === 'load-failed') throw error;
    const reason = toMigrationError(error).message;
    throw new MigrationError(
      'load-failed',
      `QEMU could not load the state of the guest's devices: ${reason}`,
      {
        cause: error,
      },
    );
  } finally {
    cancelLimit();
    forget.abort();
    socket.destroy();
  }
}

async function feed(socket: Socket, stream: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
  for await (const bytes of stream) {
    if (signal.aborted) return;
    socket.write(bytes);
  }
  socket.end();
}

/** Tells switches where the guest is now, as often as QEMU does after a migration of its own. ms */
export async function announce(control: QemuControl): Promise<void> {
  await control.execute('announce-self', { initial: 50, max: 550, rounds: 5, step: 100 });
}
