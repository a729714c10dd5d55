import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import { FaultPair, type NodeName, otherNode } from '../faults/fault-pair.js';
import { messageMarker, type Trap } from '../faults/link-proxy.js';
import { AgentLab } from '../support/agent-lab.js';
import { vmferryCommand } from '../support/vmferry-command.js';

/** The resource agent as Pacemaker drives it: a process for each action, which is told all in its environment. */

/** Exit codes of resource agents. */
const OCF = {
  success: 0,
  error: 1,
  arguments: 2,
  unimplemented: 3,
  installed: 5,
  configured: 6,
  notRunning: 7,
};
/** A command line that can do nothing, as one that is not called. */
const WITHOUT_COMMAND = { OCF_RESKEY_vmferry: '/bin/false' };
const OCF_TESTER = '/usr/sbin/ocf-tester';

if (!existsSync(OCF_TESTER))
  throw new Error(`there is no ${OCF_TESTER}: ./scripts/prepare --qemu installs it`);

const directory = await mkdtemp(join(tmpdir(), 'vmferry-ocf-'));
t.teardown(() => rm(directory, { recursive: true }));
// ocf-tester has user nobody read it.
await chmod(directory, 0o755);
const resourceAgent = join(directory, 'resource-agent');
await copyFile('deploy/pacemaker/vmferry', resourceAgent);
const vmferry = await vmferryCommand(t, directory);
const definition = join(directory, 'web.yaml');
await writeFile(definition, '{ name: web, kind: embedded, memory: 1MiB, program: ticker }');

interface Answer {
  readonly code: number | null;
  /** Why it failed, as Pacemaker shows it. */
  readonly reason: string;
}

interface Action {
  readonly process: ChildProcess;
  readonly answer: Promise<Answer>;
}

/** Two hosts with their agents, as Pacemaker acts on them. */
class Hosts {
  readonly pair: FaultPair;

  static async start(): Promise<Hosts> {
    const pair = await FaultPair.start('embedded', 'auto');
    t.teardown(() => pair.close());
    return new Hosts(pair);
  }

  private constructor(pair: FaultPair) {
    this.pair = pair;
  }

  /** Begins an action for VM web on the host of a node. `more`: what else it is told. */
  begin(action: string, node: NodeName, more: NodeJS.ProcessEnv = {}): Action {
    const process_ = spawn(resourceAgent, [action], {
      // Pacemaker ends all processes of an action at once.
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe'],
      env: {
        ...process.env,
        OCF_ROOT: '/usr/lib/ocf',
        OCF_RESOURCE_INSTANCE: 'web',
        OCF_RESKEY_vm: 'web',
        OCF_RESKEY_definition: definition,
        OCF_RESKEY_vmferry: vmferry,
        OCF_RESKEY_agent: this.pair.agent(node).url,
        OCF_RESKEY_node_map: 'host-a:a;host-b:b',
        OCF_RESKEY_CRM_meta_timeout: '120000',
        OCF_RESKEY_CRM_meta_interval: '0',
        OCF_RESKEY_CRM_meta_migrate_source: `host-${otherNode(node)}`,
        OCF_RESKEY_CRM_meta_migrate_target: `host-${otherNode(node)}`,
        ...more,
      },
    });
    const answer = Promise.all([once(process_, 'close'), text(process_.stderr)]).then(([[code], stderr]) => ({
      code: code as number | null,
      reason: /ocf-exit-reason:(.*)/.exec(stderr)?.[1] ?? '',
    }));
    return { process: process_, answer };
  }

  async act(action: string, node: NodeName, more: NodeJS.ProcessEnv = {}): Promise<Answer> {
    return await this.begin(action, node, more).answer;
  }

  /** A monitor that is repeated; one without an interval is a probe. */
  async monitor(node: NodeName): Promise<number | null> {
    return (await this.act('monitor', node, { OCF_RESKEY_CRM_meta_interval: '10000' })).code;
  }

  /** As Pacemaker does where it can't tell which of two hosts has the VM. */
  async stopOnBoth(): Promise<(number | null)[]> {
    return (await Promise.all([this.act('stop', 'a'), this.act('stop', 'b')])).map(({ code }) => code);
  }

  /** Resolves once a control message of a migration has passed, and nothing passes any more. */
  async stalledAfter(type: string): Promise<void> {
    const marker = messageMarker(type);
    await new Promise<void>((passed) => {
      const trap: Trap = {
        find: ({ carried, bytes }) => (carried.migrates && bytes.includes(marker) ? bytes.length : null),
        spring: async () => {
          passed();
          this.pair.link.stall('link');
          await Promise.resolve();
        },
      };
      this.pair.link.traps.add(trap);
    });
  }
}

/** ocf-tester has a host of its own, while other tests wait. */
async function ocfTester(): Promise<string> {
  const lab = await AgentLab.start(t, ['c']);
  const parameters = { vm: 'web', definition, vmferry, agent: lab.agent('c').url };
  const options = Object.entries(parameters).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  const tester = spawn(OCF_TESTER, ['-n', 'web', ...options, resourceAgent], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [stdout, stderr] = await Promise.all([
    text(tester.stdout),
    text(tester.stderr),
    once(tester, 'close'),
  ]);
  return stdout + stderr;
}
const tested = ocfTester();

/**
 * A commit that the target does not answer, on hosts of their own: half a minute passes until its outcome is called unknown, while
 * other tests go on.
 */
async function unansweredCommit() {
  const hosts = await Hosts.start();
  const { pair } = hosts;
  const code = async (action: string, node: NodeName) => (await hosts.act(action, node)).code;
  const started = await code('start', 'a');
  const stalled = hosts.stalledAfter('commit');
  const moving = hosts.begin('migrate_to', 'a');
  await stalled;
  await pair.agent('b').logged(({ msg }) => msg === 'the guest is committed to this node');
  process.kill(-moving.process.pid!, 'SIGKILL');
  await moving.answer;
  const startedAgain = await code('start', 'a');
  const stopped = await code('stop', 'a');
  const left = await pair.lab.whereIs('web');
  const stoppedLast = await code('stop', 'b');
  const nowhere = await pair.lab.whereIs('web');
  pair.link.mend();
  return { started, startedAgain, stopped, left, stoppedLast, nowhere };
}
const unanswered = unansweredCommit();

const hosts = await Hosts.start();
const { pair } = hosts;

await t.test('a VM is started, moved live, found where it is, and stopped', async (t) => {
  for (const node of ['a', 'b'] as const) t.equal((await hosts.act('monitor', node)).code, OCF.notRunning);
  t.equal((await hosts.act('start', 'a')).code, OCF.success);
  t.equal(await hosts.monitor('a'), OCF.success);
  await pair.lab.console('a', 'web', /tick/);

  t.same(await hosts.act('migrate_to', 'a'), { code: OCF.success, reason: '' });
  t.equal((await hosts.act('migrate_from', 'b')).code, OCF.success);
  t.equal((await hosts.act('stop', 'a')).code, OCF.success);
  t.same(await pair.lab.whereIs('web'), { b: 'running' }, 'a stop of what has left ends nothing');
  t.equal(await hosts.monitor('a'), OCF.notRunning);
  t.equal(await hosts.monitor('b'), OCF.success);

  const refused = await hosts.act('start', 'a', WITHOUT_COMMAND);
  t.match(refused, { code: OCF.error, reason: 'node b has it: running' });
  t.equal(
    (await hosts.act('monitor', 'b', WITHOUT_COMMAND)).code,
    OCF.success,
    'to look starts no process of Node.js',
  );
  t.equal((await hosts.act('start', 'b')).code, OCF.success, 'one that runs has been started');
  await pair.client('b').changeGuest('web', 'pause');
  t.equal(await hosts.monitor('b'), OCF.success);
  t.equal((await hosts.act('start', 'b')).code, OCF.success);
  t.same(await pair.lab.whereIs('web'), { b: 'running' }, 'a start lets one that is paused run on');
  t.match(await hosts.act('migrate_from', 'a'), { code: OCF.error, reason: 'did not come from host-b' });
  t.same(await hosts.stopOnBoth(), [OCF.success, OCF.success]);
  t.same(await pair.lab.whereIs('web'), {}, 'nothing is left of it');
});

await t.test('what is wrong is named, and whether it is so on all hosts', async (t) => {
  t.equal((await hosts.act('validate-all', 'a')).code, OCF.success);
  t.equal((await hosts.act('reload', 'a')).code, OCF.unimplemented);
  const wrong: [NodeJS.ProcessEnv, number, string][] = [
    [{ OCF_RESKEY_vm: 'a b' }, OCF.configured, "parameter 'vm' is 'a b'"],
    [{ OCF_RESKEY_vm: '..' }, OCF.configured, "parameter 'vm' is '..'"],
    [{ OCF_RESKEY_agent: `${pair.agent('a').url}/v1` }, OCF.configured, 'a URL without a path'],
    [{ OCF_RESKEY_definition: 'web.yaml' }, OCF.configured, 'must be the absolute path'],
    [{ OCF_RESKEY_agent: 'localhost' }, OCF.configured, "parameter 'agent' is 'localhost'"],
    [{ OCF_RESKEY_node_map: 'host-a' }, OCF.configured, "parameter 'node_map' is 'host-a'"],
    [{ OCF_RESKEY_definition: '/none.yaml' }, OCF.installed, "parameter 'definition': there is no file"],
    [{ OCF_RESKEY_vmferry: '/none/vmferry' }, OCF.installed, "there is no command '/none/vmferry'"],
  ];
  for (const [parameter, code, reason] of wrong) {
    t.match(await hosts.act('validate-all', 'a', parameter), { code, reason });
  }
  const other = await hosts.act('start', 'a', { OCF_RESKEY_vm: 'other' });
  t.match(other, { code: OCF.arguments, reason: 'defines VM web, not other' });
  t.same(await pair.lab.whereIs('web'), {}, 'a definition of another VM is not kept');
});

await t.test("an answer about the cluster that is no agent's has nothing started", async (t) => {
  const defined: string[] = [];
  const server = createServer((request, response) => {
    if (request.method !== 'GET') defined.push(request.url!);
    const known = request.url!.startsWith('/v1/cluster');
    response.writeHead(known ? 200 : 404).end(known ? '' : '{"error":{"code":"not-found"}}');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  const agent = { OCF_RESKEY_agent: `http://127.0.0.1:${port}`, OCF_RESKEY_CRM_meta_timeout: '4000' };
  const refused = await hosts.act('start', 'a', agent);
  t.match(refused, { code: OCF.error, reason: 'whether another node has it is not known' });
  t.same(defined, []);
});

await t.test('an agent that does not answer is no VM that has stopped', async (t) => {
  t.equal((await hosts.act('start', 'b')).code, OCF.success);
  const soon = { OCF_RESKEY_CRM_meta_timeout: '4000' };
  const fails = async (t: Test) => {
    for (const { code, reason } of await Promise.all([
      hosts.act('monitor', 'b', soon),
      hosts.act('stop', 'b', soon),
    ])) {
      t.equal(code, OCF.error);
      t.match(reason, 'its state here is not known');
    }
  };
  const { process: agent } = pair.agent('b');
  agent.kill('SIGSTOP');
  await t.test('while it stands still', fails);
  agent.kill('SIGCONT');
  t.equal(await hosts.monitor('b'), OCF.success);
  await pair.kill('b');
  await t.test('while it is down', fails);

  const starting = hosts.begin('stop', 'b');
  await pair.restart('b');
  t.equal((await starting.answer).code, OCF.success, 'a stop waits for one that is being started');
});

await t.test('a host that comes back forgets in its probe what it ran', async (t) => {
  t.equal((await hosts.act('start', 'b')).code, OCF.success);
  await pair.kill('b');
  await pair.restart('b');
  t.same(await pair.lab.whereIs('web'), { b: 'stopped' });
  t.equal((await hosts.act('monitor', 'b')).code, OCF.notRunning);
  t.same(await pair.lab.whereIs('web'), {});
});

await t.test('a move that takes too long is cancelled, and the VM runs on', async (t) => {
  const large = await pair.lab.file(
    'large.yaml',
    '{ name: web, kind: embedded, memory: 1MiB, program: dirty, parameters: { workingSetPages: 200, pagesPerSecond: 2000 } }',
  );
  t.equal((await hosts.act('start', 'a', { OCF_RESKEY_definition: large })).code, OCF.success);
  const migrated = await hosts.act('migrate_to', 'a', {
    OCF_RESKEY_vmferry: resolve('scripts/vmferry'),
    OCF_RESKEY_bandwidth: '64kbit',
    OCF_RESKEY_CRM_meta_timeout: '14000',
  });
  t.match(migrated, { code: OCF.error, reason: 'did not move to node b' });
  t.equal(await hosts.monitor('a'), OCF.success);
  t.equal(await hosts.monitor('b'), OCF.notRunning);
});

await t.test('what an action that was ended has left is stopped on both hosts', async (t) => {
  const stalled = hosts.stalledAfter('prepare');
  const moving = hosts.begin('migrate_to', 'a');
  await stalled;
  process.kill(-moving.process.pid!, 'SIGKILL');
  await moving.answer;
  t.same(await hosts.stopOnBoth(), [OCF.success, OCF.success]);
  pair.link.mend();
  t.same(await pair.lab.whereIs('web'), {});
});

await t.test(
  'a VM of which nobody knows where it runs is stopped on both hosts, the target last',
  async (t) => {
    const { started, startedAgain, stopped, left, stoppedLast, nowhere } = await unanswered;
    t.equal(started, OCF.success);
    t.equal(startedAgain, OCF.error);
    t.equal(stopped, OCF.success);
    t.same(left, { b: 'running' }, 'the copy that stood still is ended, the other one runs on');
    t.equal(stoppedLast, OCF.success);
    t.same(nowhere, {});
  },
);

await t.test('ocf-tester has nothing to say against it', async (t) => {
  t.match(await tested, `${resourceAgent} passed all tests`);
});
