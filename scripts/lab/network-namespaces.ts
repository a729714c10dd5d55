import { execFile, execFileSync } from 'node:child_process';
import { promisify } from 'node:util';
import { isAlive, killAndWait } from './killed-processes.js';

const run = promisify(execFile);

/** Names of what is made here begin with it; after it comes the id of the process that made it, in base 36. */
const PREFIX = 'vmferry';

/** Devices on this host are named alike, within the 15 characters that the kernel allows. */
const DEVICE_PREFIX = 'vmf';

/**
 * Hosts on this machine: network namespaces. They bear the id of the process that made them in their names, so that what a
 * process has left behind that was killed is found by the next one. Needs root.
 */
export class NetworkNamespaces {
  readonly #id = process.pid.toString(36);
  readonly #names = new Set<string>();
  readonly #devices = new Set<string>();
  readonly #removeAtExit = () => this.removeNow();

  constructor() {
    removeLeftovers();
    process.once('exit', this.#removeAtExit);
  }

  nameOf(host: string): string {
    return `${PREFIX}-${this.#id}-${host}`;
  }

  /** Makes the namespace of a host; its name. */
  async add(host: string): Promise<string> {
    const name = this.nameOf(host);
    this.#names.add(name);
    await ip('netns', 'add', name);
    await ip('-n', name, 'link', 'set', 'lo', 'up');
    return name;
  }

  /** The name of a device on this host that belongs to `host`, or to all of them; it is removed with the namespaces. */
  device(host = ''): string {
    const name = [DEVICE_PREFIX, this.#id, ...(host === '' ? [] : [host])].join('-');
    this.#devices.add(name);
    return name;
  }

  /** The command that starts a program on a host, before the program. */
  launcher(host: string): string[] {
    return ['ip', 'netns', 'exec', this.nameOf(host)];
  }

  /** Removes all of it, and ends what still runs in it. Harmless when repeated; may be called as the process ends. */
  removeNow(): void {
    process.off('exit', this.#removeAtExit);
    for (const name of this.#names) endProcesses(name);
    for (const name of this.#devices) removeDevice(name);
    for (const name of this.#names) removeNamespace(name);
    this.#devices.clear();
    this.#names.clear();
  }
}

export async function ip(...parameters: string[]): Promise<void> {
  await run('ip', parameters);
}

/** Names of the namespaces of this host that were made here, by whichever process. */
export function labNamespaces(): string[] {
  // 'NAME' or 'NAME (id: 0)'
  return listed('netns')
    .map((line) => line.split(' ', 1).join(''))
    .filter((name) => name.startsWith(`${PREFIX}-`));
}

/** What processes have left behind that are gone: killed before they could clear away. */
function removeLeftovers(): void {
  const isLeft = (id: string | undefined) => id !== undefined && !isAlive(Number.parseInt(id, 36));
  const namespaces = labNamespaces().filter((name) => isLeft(name.split('-')[1]));
  for (const name of namespaces) endProcesses(name);
  for (const name of listed('-o', 'link')) {
    const device = /^\d+: (vmf-([0-9a-z]+)(?:-\w+)?)[@:]/.exec(name);
    if (device && isLeft(device[2])) removeDevice(device[1]!);
  }
  for (const name of namespaces) removeNamespace(name);
}

function removeDevice(name: string): void {
  quietly('ip', 'link', 'delete', name);
}

/** A namespace lives as long as a process in it. */
function removeNamespace(name: string): void {
  quietly('ip', 'netns', 'delete', name);
}

/**
 * Ends what runs in a namespace, and waits until it is gone: while its devices are there, those who are connected to it hear that
 * it has ended; afterwards they would wait for it.
 */
function endProcesses(name: string): void {
  const pids = quietly('ip', 'netns', 'pids', name).split('\n').filter(Boolean).map(Number);
  killAndWait(pids);
}

function listed(...parameters: string[]): string[] {
  return quietly('ip', ...parameters)
    .split('\n')
    .filter(Boolean);
}

/** What a program printed; empty where it failed: what is to be removed may be gone already. */
function quietly(program: string, ...parameters: string[]): string {
  try {
    return execFileSync(program, parameters, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  } catch {
    return '';
  }
}
