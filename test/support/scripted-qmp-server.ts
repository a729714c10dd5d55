import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** A command as it arrived. */
export interface ScriptedCommand {
  execute: string;
  arguments: Record<string, unknown>;
  id: number;
}

/** What a scripted monitor says to a command: lines, sent as they are; none: it stays silent. */
export type Script = (command: ScriptedCommand, server: ScriptedQmpServer) => string[];

export const GREETING =
  '{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian 1:7.2"}, "capabilities": ["oob"]}}';

/** A reply to `command`. */
export function reply({ id }: ScriptedCommand, value: unknown = {}): string {
  return JSON.stringify({ return: value, id });
}

export function refusal({ id }: ScriptedCommand, errorClass: string, desc: string): string {
  return JSON.stringify({ id, error: { class: errorClass, desc } });
}

export function event(name: string, data: object = {}, seconds = 1_700_000_000, microseconds = 0): string {
  return JSON.stringify({ timestamp: { seconds, microseconds }, event: name, data });
}

/**
 * A monitor on a unix socket that says what its script says. It greets and takes qmp_capabilities by itself, unless the
 * `greeting` is another; each client is served alike.
 */
export class ScriptedQmpServer {
  readonly path: string;
  readonly commands: ScriptedCommand[] = [];
  readonly #directory: string;
  readonly #server: Server;
  readonly #clients = new Set<Socket>();

  static async start(script: Script, greeting: string | null = GREETING): Promise<ScriptedQmpServer> {
    const directory = await mkdtemp(join(tmpdir(), 'vmferry-qmp-'));
    const server = new ScriptedQmpServer(directory, script, greeting);
    server.#server.listen(server.path);
    await once(server.#server, 'listening');
    return server;
  }

  private constructor(directory: string, script: Script, greeting: string | null) {
    this.#directory = directory;
    this.path = join(directory, 'qmp');
    this.#server = createServer((socket) => {
      this.#clients.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => this.#clients.delete(socket));
      if (greeting !== null) socket.write(`${greeting}\r\n`);
      createInterface({ input: socket }).on('line', (line) => {
        const command = JSON.parse(line) as ScriptedCommand;
        if (command.execute === 'qmp_capabilities') {
          this.say(reply(command));
          return;
        }
        this.commands.push(command);
        this.say(...script(command, this));
      });
    });
  }

  /** Sends lines to every client. */
  say(...lines: string[]): void {
    this.sendBytes(Buffer.from(lines.map((line) => `${line}\r\n`).join('')));
  }

  sendBytes(bytes: Uint8Array): void {
    if (bytes.length > 0) for (const client of this.#clients) client.write(bytes);
  }

  /** Resolves once every client has been sent, in a piece of its own, what was said so far. */
  async flush(): Promise<void> {
    const sent = [...this.#clients].map((client) => new Promise((resolve) => client.write('', resolve)));
    await Promise.all(sent);
    await new Promise((resolve) => setImmediate(resolve));
  }

  /** Ends the connections, as a QEMU does that dies. */
  die(): void {
    for (const client of this.#clients) client.destroy();
  }

  async stop(): Promise<void> {
    this.die();
    await new Promise((resolve) => this.#server.close(resolve));
    await rm(this.#directory, { recursive: true, force: true });
  }
}
