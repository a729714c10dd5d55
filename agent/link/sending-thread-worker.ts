import { Socket } from 'node:net';
import { parentPort } from 'node:worker_threads';
import { openRegions, type SharedRegions } from '../guest/region-handle.js';
import type { SendingCommand, SendingReport } from './sending-threads.js';
import { TcpConnection } from './tcp-connection.js';

/** The thread of a page stream's sending end: writes to the socket what it is told to, and says what was taken. */

const port = parentPort!;
const say = (report: SendingReport) => port.postMessage(report);

class Sending {
  readonly #connection: TcpConnection;
  readonly #shared: SharedRegions;
  /** Taken in this turn, and not told yet. */
  #taken = 0;

  constructor({ fd, peer, regions }: Extract<SendingCommand, { do: 'open' }>) {
    this.#shared = openRegions(regions);
    const socket = new Socket({ fd, readable: true, writable: true });
    this.#connection = new TcpConnection(socket, peer);
    this.#connection.onMessage(() => say({ say: 'heard' }));
    this.#connection.onClose((end) => {
      this.#shared.release();
      say({ say: 'ended', end });
    });
    socket.resume();
  }

  send(data: Uint8Array): void {
    this.#connection.send(data).then(
      () => this.#tell(),
      // The end of the connection says why.
      () => undefined,
    );
  }

  memory(region: number, offset: number, bytes: number): Uint8Array {
    return this.#shared.regions[region]!.memory.subarray(offset, offset + bytes);
  }

  close(code: number, reason: string): void {
    this.#connection.close(code, reason);
  }

  #tell(): void {
    this.#taken += 1;
    if (this.#taken > 1) return;
    setImmediate(() => {
      say({ say: 'taken', count: this.#taken });
      this.#taken = 0;
    });
  }
}

let sending: Sending | null = null;

port.on('message', (command: SendingCommand) => {
  switch (command.do) {
    case 'open':
      sending = new Sending(command);
      break;
    case 'send':
      sending?.send(sending.memory(command.region, command.offset, command.bytes));
      break;
    case 'send-content':
      sending?.send(command.content);
      break;
    case 'close':
      sending?.close(command.code, command.reason);
      break;
  }
});
