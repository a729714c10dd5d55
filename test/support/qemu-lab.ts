import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { z } from 'zod';
import { buildPageWalker } from '../../scripts/lab/guests/boot-sector/page-walker.js';
import { pageMarkers, pageWalkDefects } from '../../scripts/lab/guests/boot-sector/page-walk-defects.js';
import { type AgentPlace, ALLOW_ALL_FILES } from '../../scripts/lab/agent-process.js';
import { buildLinuxGuest, linuxBoot, type LinuxWork } from '../../scripts/lab/guests/linux/linux-guest.js';
import { GuestTranscript } from '../../scripts/lab/guest-transcript.js';
import { qemuProcesses } from '../../scripts/lab/qemu-processes.js';
import { GuestDefinitionSchema, type QemuDefinitionSchema } from '../../shared/guest-definition.js';
import { AgentLab } from './agent-lab.js';

interface Test {
  teardown(callback: () => Promise<void>): void;
}

interface Settings {
  readonly qemu?: object;
  readonly [name: string]: unknown;
}

/** What a test says about its machine beside what the lab decides. */
export type Machine = Partial<z.input<typeof QemuDefinitionSchema>>;

/** Agents that host QEMU guests with the RAM of each node in a folder of its own; nothing of it outlives the test. */
export class QemuLab {
  readonly agents: AgentLab;
  readonly #memory: string;
  readonly #transcripts: GuestTranscript[] = [];
  #initrd: Promise<string> | undefined;

  /** `settings`: what else is in the configuration, of all agents or of each; `prepareDirectory`: for agents of another user. */
  static async start(
    t: Test,
    nodes: readonly string[] = ['a', 'b'],
    settings: Settings | ((node: string) => Settings) = {},
    placeOf?: (node: string) => AgentPlace,
    prepareDirectory: (path: string) => Promise<void> = () => Promise.resolve(),
  ): Promise<QemuLab> {
    const memory = await mkdtemp('/dev/shm/vmferry-lab-');
    const leave: (() => Promise<void>)[] = [];
    t.teardown(async () => {
      for (const end of leave) await end();
      for (const pid of qemuProcesses(memory)) process.kill(pid, 'SIGKILL');
      await rm(memory, { recursive: true, force: true });
    });
    for (const node of nodes) await mkdir(join(memory, node));
    for (const path of [memory, ...nodes.map((node) => join(memory, node))]) await prepareDirectory(path);
    const settingsOf = (node: string) => {
      const given = typeof settings === 'function' ? settings(node) : settings;
      const allow = {
        ...ALLOW_ALL_FILES,
        arguments: ['-device pvpanic', '-drive file=*,format=raw,if=virtio,readonly=on'],
      };
      return {
        guestMemory: '8GiB',
        ...given,
        qemu: { memoryDirectory: join(memory, node), allow, ...given.qemu },
      };
    };
    const agents = await AgentLab.start(
      { teardown: (end) => leave.push(end) },
      nodes,
      settingsOf,
      placeOf,
      prepareDirectory,
    );
    const lab = new QemuLab(agents, memory);
    leave.unshift(async () => {
      await Promise.all(lab.#transcripts.map((transcript) => transcript.close()));
    });
    return lab;
  }

  private constructor(agents: AgentLab, memory: string) {
    this.agents = agents;
    this.#memory = memory;
  }

  /** Starts a guest of 128 MiB that runs Linux; resolves once it has booted. `kernel`: more parameters for its kernel. */
  async bootLinux(
    node: string,
    name: string,
    work: LinuxWork,
    machine: Machine = {},
    kernel = '',
  ): Promise<GuestTranscript> {
    this.#initrd ??= this.#buildInitrd();
    const boot = linuxBoot(await this.#initrd, work, kernel);
    const transcript = await this.#boot(node, { name, memory: '128MiB', boot, ...machine });
    await transcript.printed(/booted with .*\n/);
    return transcript;
  }

  /** Starts a guest of one sector that walks its pages; resolves once all of them are in their order. */
  async bootPageWalker(
    node: string,
    name: string,
    memoryBytes: number,
    machine: Machine = {},
    delay?: number,
  ): Promise<GuestTranscript> {
    const image = join(this.agents.directory, `${name}.img`);
    await buildPageWalker(image, { memoryBytes, ...(delay !== undefined && { delay }) });
    const disks = [{ file: image, readonly: true }];
    const transcript = await this.#boot(node, { name, memory: memoryBytes, disks, ...machine });
    await transcript.printed(/pass \w+\n/);
    return transcript;
  }

  /** All that a guest of a node printed since it booted, and prints from now on. */
  follow(node: string, name: string): GuestTranscript {
    const transcript = new GuestTranscript(this.agents.client(node), name);
    this.#transcripts.push(transcript);
    return transcript;
  }

  /** Resolves once a node holds nothing more for a migration that has failed: its source is told first. */
  async cleared(node: string, migration: string): Promise<void> {
    await this.agents
      .agent(node)
      .logged((line) => line['migration'] === migration && line['msg'] === 'node lock released');
  }

  /** Types a line at the console of a guest. */
  async type(node: string, name: string, line: string): Promise<void> {
    await this.agents.client(node).sendConsoleInput(name, Buffer.from(`${line}\n`));
  }

  /** What is wrong with the memory of a page walker that stands still on a node; empty if nothing is. */
  async pageWalkDefects(node: string, name: string): Promise<string[]> {
    return pageWalkDefects(await pageMarkers(await this.ramFiles(node, name)));
  }

  /** The RAM of a guest on a node, a file for each memory object. */
  async ramFiles(node: string, name: string): Promise<string[]> {
    const directory = this.memoryDirectory(node);
    const files = (await readdir(directory)).filter((file) => file.startsWith(`vmferry-${node}:${name}-`));
    return files.sort().map((file) => join(directory, file));
  }

  /** Where the RAM of a node's guests lies. */
  memoryDirectory(node: string): string {
    return join(this.#memory, node);
  }

  /** Processes of QEMU that run for a node. */
  qemus(node: string): number[] {
    return qemuProcesses(this.memoryDirectory(node));
  }

  /** What a node holds of guests: names of RAM files and of run directories, and processes. */
  async remains(node: string): Promise<{ files: string[]; processes: number[] }> {
    const run = join(this.agents.directory, node, 'run');
    const directories = await readdir(run).catch(() => []);
    return {
      files: [...(await readdir(this.memoryDirectory(node))), ...directories],
      processes: this.qemus(node),
    };
  }

  async #boot(node: string, machine: Machine & { name: string }): Promise<GuestTranscript> {
    const client = this.agents.client(node);
    const definition = GuestDefinitionSchema.parse({ kind: 'qemu', accel: 'tcg', ...machine });
    await client.defineGuest(definition, undefined);
    await client.changeGuest(machine.name, 'start');
    return this.follow(node, machine.name);
  }

  async #buildInitrd(): Promise<string> {
    const file = join(this.agents.directory, 'initrd');
    await buildLinuxGuest(file);
    return file;
  }
}
