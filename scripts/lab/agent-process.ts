import { type ChildProcess, spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';

/** One line of an agent's log. */
export type LogLine = Readonly<Record<string, unknown>>;

/** An agent in a process of its own on this machine, as a demo, a benchmark or a test uses it. */
export interface AgentProcess {
  readonly node: string;
  readonly url: string;
  readonly process: ChildProcess;
  /** What it logged: one object a line. */
  readonly log: LogLine[];
  /** The first line that matches, of those logged already or of later ones. Rejects if the agent ends without one. */
  logged(matches: (line: LogLine) => boolean): Promise<LogLine>;
  /** Ends it at once (SIGKILL), as a host that fails does; resolves when it is gone. Harmless when repeated. */
  kill(): Promise<void>;
  /** Asks it to shut down and waits until it has ended; returns its exit code. Harmless when repeated. */
  stop(): Promise<number | null>;
}

const CLI = fileURLToPath(new URL('../vmferry.js', import.meta.url));

/** As in the first line of scripts/vmferry.ts: helper threads of V8 would take processors from the guests. */
const NODE_OPTIONS = ['--single-threaded-gc'];

/** Where an agent runs and listens. */
export interface AgentPlace {
  /** Address of the host, as the others reach it. */
  readonly host: string;
  /** Address of the host as this process reaches it, where that is another one. */
  readonly apiHost?: string;
  /** The command that starts a program there, before the program: none for this host itself. */
  readonly launcher: readonly string[];
}

/** `qemu.allow` of nodes that are all one person's, on this machine: guests there bring files and devices as they like. */
export const ALLOW_ALL_FILES = { files: ['/'], taps: ['*'] } as const;

const THIS_HOST: AgentPlace = { host: '127.0.0.1', launcher: [] };

/**
 * Starts agents that know each other, on free ports of loopback or of their own hosts, with their state and their configuration NODE.yaml
 * under `directory`. `settings`: what else is in the configuration, of all or of each node.
 */
export async function startAgents(
  nodes: readonly string[],
  directory: string,
  settings: object | ((node: string) => object) = {},
  placeOf: (node: string) => AgentPlace = () => THIS_HOST,
): Promise<AgentProcess[]> {
  const ports = await freePorts(nodes.length);
  const settingsOf = (node: string) =>
    typeof settings === 'function' ? (settings as (node: string) => object)(node) : settings;
  const scheme = (node: string) => ('tls' in settingsOf(node) ? 'https' : 'http');
  const urls = new Map(
    nodes.map((node, index) => [node, `${scheme(node)}://${placeOf(node).host}:${ports[index]}`]),
  );
  const starting = nodes.map(async (node, index) => {
    const { host, apiHost = host, launcher } = placeOf(node);
    const peers = Object.fromEntries([...urls].filter(([name]) => name !== node));
    const file = join(directory, `${node}.yaml`);
    const config = {
      node,
      // An agent has one address: where it has to be reached by two, it is that of all of them.
      // Nobody else is in a lab's network; what measures or tests TLS gives it as a setting.
      ...(host !== THIS_HOST.host && scheme(node) === 'http' && { insecurePlaintext: true }),
      listen: `${apiHost === host ? host : '0.0.0.0'}:${ports[index]}`,
      stateDirectory: join(directory, node),
      peers,
      ...settingsOf(node),
    };
    await writeFile(file, stringify(config));
    return await startAgent(node, `${scheme(node)}://${apiHost}:${ports[index]}`, file, launcher);
  });
  const started = await Promise.allSettled(starting);
  const agents = started.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const failed = started.find((result) => result.status === 'rejected');
  if (!failed) return agents;
  await Promise.all(agents.map((agent) => agent.stop()));
  throw failed.reason;
}

/** Starts one agent with a configuration file by which it can be reached at `url`. */
export async function startAgent(
  node: string,
  url: string,
  configFile: string,
  launcher: readonly string[] = [],
): Promise<AgentProcess> {
  const command = [...launcher, process.execPath, ...NODE_OPTIONS, CLI, 'agent', '--config', configFile];
  const child = spawn(command[0]!, command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] });
  const exited = once(child, 'exit');
  const log: LogLine[] = [];
  const logging = new EventEmitter();
  logging.setMaxListeners(0);
  let errors = '';
  child.stderr.on('data', (text: Buffer) => (errors += text.toString()));
  const serving = new Promise<void>((resolve) => {
    createInterface(child.stdout).on('line', (line) => {
      const entry = JSON.parse(line) as LogLine;
      log.push(entry);
      logging.emit('line', entry);
      if (entry['msg'] === 'agent is serving') resolve();
    });
  });
  const failed = exited.then(([code]) => {
    throw new Error(`the agent of node ${node} ended with exit code ${String(code)}: ${errors.trim()}`);
  });
  await Promise.race([serving, failed]);
  failed.catch(() => undefined);
  return {
    node,
    url,
    process: child,
    log,
    async logged(matches) {
      const past = log.find(matches);
      if (past) return past;
      const found = new Promise<LogLine>((resolve) => {
        logging.on('line', function look(line: LogLine) {
          if (!matches(line)) return;
          logging.off('line', look);
          resolve(line);
        });
      });
      return await Promise.race([found, failed]);
    },
    async kill() {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
      await exited;
    },
    async stop() {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
      await exited;
      return child.exitCode;
    },
  };
}

/** Ports of loopback that nobody uses at this moment. */
async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
