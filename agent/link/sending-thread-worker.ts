import { Socket } from 'node:net';
import { toMigrationError } from '../../shared/errors.js';
import { errorToCloseCode } from '../../shared/protocol/close-codes.js';
import { openRegions, type SharedRegions } from '../guest/region-handle.js';
import type { SendingCommand, SendingReport } from './sending-threads.js';
import { TcpConnection } from './tcp-connection.js';
import { reportToAgent, serveAgent } from '../threads/serve-agent.js';

/** The thread of a page stream's sending end: writes to the socket what it is told to, and says what was taken. */

const say = (report: SendingReport) => reportToAgent(report);

class Sending {
  readonly #connection: TcpConnection;
  /** Null where it could not be had, and once all is let go. */
  #shared: SharedRegions | null = null;
  /** Taken in this turn, and not told yet. */
  #taken = 0;

  constructor({ fd, peer, regions }: Extract<SendingCommand, { do: 'open' }>) {
    const socket = new Socket({ fd, readable: true, writable: true });
    this.#connection = new TcpConnection(socket, peer);
    this.#connection.onMessage(() => say({ say: 'heard' }));
    this.#connection.onClose((end) => {
      this.#shared?.release();
      this.#shared = null;
      // What was taken is not told any more: the thread may be another connection's by then.
      this.#taken = 0;
      say({ say: 'ended', end });
    });
    socket.resume();
    try {
      this.#shared = openRegions(regions);
    } catch (thrown) {
      // Only with the socket in hand: nobody else would close it.
      const { code, message } = toMigrationError(thrown);
      this.#connection.close(errorToCloseCode(code), `the guest's memory can't be read: ${message}`);
    }
  }

  sendMemory(region: number, offset: number, bytes: number): void {
    const memory = this.#shared?.regions[region]?.memory;
    if (memory) this.send(memory.subarray(offset, offset + bytes));
  }

  send(data: Uint8Array): void {
    this.#connection.send(data).then(
      () => this.#tell(),
      // The end of the connection says why.
      () => undefined,
    );
  }

  close(code: number, reason: string): void {
    this.#connection.close(code, reason);
  }

  #tell(): void {
    this.#taken += 1;
    if (this.#taken > 1) return;
    setImmediate(() => {
      if (this.#taken > 0) say({ say: 'taken', count: this.#taken });
      this.#taken = 0;
    });
  }
}

let sending: Sending | null = null;

serveAgent((command: SendingCommand) => {
  switch (command.do) {
    case 'open':
      sending = new Sending(command);
      break;
    case 'send':
      sending?.sendMemory(command.region, command.offset, command.bytes);
      break;
    case 'send-content':
      sending?.send(command.content);
      break;
    case 'close':
      sending?.close(command.code, command.reason);
      break;
  }
});
