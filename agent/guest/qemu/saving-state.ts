import { rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { MigrationError } from '../../../shared/errors.js';
import { MAX_BLOB_BYTES } from '../../../shared/protocol/frame.js';
import type { StateSink } from '../guest.js';
import type { QemuControl } from './qemu-control.js';
import { CONSOLE_TAIL_BYTES } from './qemu-state.js';
import type { QmpEvent } from './qmp/qmp-message.js';

/** Most that QEMU's stream may have, so that the state made of it can be sent. Video memory is part of it. bytes */
const MAX_STREAM_BYTES = MAX_BLOB_BYTES - 2 * CONSOLE_TAIL_BYTES;

/** QEMU's limits for its own migration, put out of the way: it is the agent that decides when to switch over. */
const NO_LIMITS = { 'max-bandwidth': 2 ** 40, 'downtime-limit': 2_000_000 };

/** With these QEMU leaves RAM that is shared out of its stream, and pauses for us before it saves the devices. */
const CAPABILITIES = ['pause-before-switchover', 'x-ignore-shared'];

/** QEMU's statuses of a migration that is under way: MigrationStatus in QEMU's qapi/migration.json. */
const UNDER_WAY = ['setup', 'cancelling', 'active', 'pre-switchover', 'device', 'wait-unplug'];

/**
 * QEMU's own migration, used to save CPUs and devices: to a socket of the agent, in two steps. Between them the guest
 * stands still and QEMU waits.
 */
export class SavingState {
  readonly #control: QemuControl;
  readonly #path: string;
  #stream: ReceivedStream | null = null;

  /** `path`: where the socket is to be. */
  constructor(control: QemuControl, path: string) {
    this.#control = control;
    this.#path = path;
  }

  /**
   * Saves what can be saved of a running guest, and pauses it. Bytes of QEMU's stream go to `sink` as they come. Returns when
   * QEMU had come so far, in Unix ms.
   */
  async begin(sink: StateSink): Promise<number> {
    const control = this.#control;
    await setCapabilities(control, ['events', ...CAPABILITIES], true);
    await control.execute('migrate-set-parameters', NO_LIMITS);
    await rm(this.#path, { force: true });
    const stream = await ReceivedStream.listen(this.#path, sink);
    this.#stream = stream;
    const halted = this.#status(['pre-switchover', 'failed', 'cancelled', 'completed']);
    try {
      await control.execute('migrate', { uri: `unix:${this.#path}` });
      const event = await control.guard(halted.event);
      if (event.data.status !== 'pre-switchover') throw await this.#failure(event);
      return event.at;
    } catch (error) {
      this.close();
      await this.restore();
      throw error;
    } finally {
      halted.forget();
    }
  }

  /** Saves the rest of it. Resolves once the sink has all of the stream. */
  async finish(): Promise<void> {
    const stream = this.#stream;
    if (!stream)
      throw new MigrationError('internal', 'a QEMU guest was not paused for its state to be saved');
    const ended = this.#status(['completed', 'failed', 'cancelled']);
    try {
      await this.#control.execute('migrate-continue', { state: 'pre-switchover' });
      const event = await this.#control.guard(ended.event);
      if (event.data.status !== 'completed') throw await this.#failure(event);
      await this.#control.guard(stream.ended);
    } catch (error) {
      await this.restore();
      throw error;
    } finally {
      ended.forget();
      this.close();
    }
  }

  /** Ends a migration that is under way. QEMU lets a guest run again that ran before. Harmless when there is none. */
  async cancel(): Promise<void> {
    const ended = this.#status(['completed', 'failed', 'cancelled']);
    try {
      const { status } = await queryMigration(this.#control);
      if (status === undefined) return;
      if (UNDER_WAY.includes(status)) {
        await this.#control.execute('migrate_cancel');
        await this.#control.guard(ended.event);
      }
      await this.restore();
    } finally {
      ended.forget();
      this.close();
    }
  }

  /** Leaves QEMU fit for a migration that is none of ours: one without x-ignore-shared has all of the guest's memory. */
  async restore(): Promise<void> {
    // One that refuses has a migration under way, and one that has ended needs none.
    await setCapabilities(this.#control, CAPABILITIES, false).catch(() => undefined);
  }

  /** Lets go of what has been saved so far. */
  close(): void {
    this.#stream?.close();
    this.#stream = null;
  }

  #status(statuses: readonly string[]): { event: Promise<QmpEvent>; forget: () => void } {
    const forget = new AbortController();
    const event = this.#control.event(
      ({ name, data }) => name === 'MIGRATION' && statuses.includes(String(data.status)),
      forget.signal,
    );
    return { event, forget: () => forget.abort() };
  }

  async #failure({ data }: QmpEvent): Promise<MigrationError> {
    const { 'error-desc': reason = 'QEMU gives no reason' } = await queryMigration(this.#control);
    const text = this.#stream?.refusal ?? reason;
    return new MigrationError(
      'guest-failed',
      `QEMU could not save the state of its devices (${String(data.status)}): ${text}`,
    );
  }
}

interface MigrationInfo {
  readonly status?: string;
  readonly 'error-desc'?: string;
}

export async function queryMigration(control: QemuControl): Promise<MigrationInfo> {
  return (await control.execute('query-migrate')) as MigrationInfo;
}

export async function setCapabilities(
  control: QemuControl,
  names: readonly string[],
  state: boolean,
): Promise<void> {
  const capabilities = names.map((capability) => ({ capability, state }));
  await control.execute('migrate-set-capabilities', { capabilities });
}

/** What one client sends to a socket, handed to a sink as it comes. */
class ReceivedStream {
  /** Resolves at its end. */
  readonly ended: Promise<void>;
  /** Why no more is taken. */
  refusal: string | null = null;
  readonly #server: Server;
  #socket: Socket | null = null;

  static async listen(path: string, sink: StateSink): Promise<ReceivedStream> {
    const server = createServer();
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, resolve);
    });
    return new ReceivedStream(server, sink);
  }

  private constructor(server: Server, sink: StateSink) {
    this.#server = server;
    this.ended = new Promise((resolve, reject) => {
      server.once('connection', (socket) => {
        this.#socket = socket;
        let total = 0;
        socket.on('data', (chunk: Buffer) => {
          total += chunk.length;
          if (total <= MAX_STREAM_BYTES) {
            sink(chunk);
            return;
          }
          this.refusal = `it has more than ${MAX_STREAM_BYTES} bytes: is all RAM of the guest shared?`;
          socket.destroy();
        });
        socket.once('end', resolve);
        socket.once('error', reject);
        socket.once('close', () => reject(new Error('it ended early')));
      });
    });
    this.ended.catch(() => undefined);
  }

  close(): void {
    this.#socket?.destroy();
    this.#server.close();
  }
}
