import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { AgentConfigSchema } from '../../shared/config.js';
import { pino } from 'pino';
import { Agent } from '../../agent/agent.js';

const ID = 'm-00000001';

/** An agent of node a that finds its VM 'web' with a commit to node b on record, as an earlier run left it. */
async function restarted(
  t: Test,
  peer: string | null,
): Promise<{ agent: Agent; logged: (message: RegExp) => Promise<void> }> {
  const stateDirectory = join(t.testdirName, 'a');
  await mkdir(join(stateDirectory, 'guests'), { recursive: true });
  await mkdir(join(stateDirectory, 'journal'));
  const definition = { name: 'web', kind: 'embedded', memory: 2 ** 20, program: 'idle' };
  await writeFile(join(stateDirectory, 'guests', 'web.json'), JSON.stringify(definition));
  const entry = {
    migration: ID,
    decision: 'commit-sent',
    vm: 'web',
    peer: 'b',
    at: new Date().toISOString(),
  };
  await writeFile(join(stateDirectory, 'journal', `${ID}.json`), JSON.stringify(entry));
  const lines: string[] = [];
  const waiting: { message: RegExp; resolve: () => void }[] = [];
  const logger = pino({}, {
    write: (line: string) => {
      lines.push(line);
      for (const { message, resolve } of waiting) if (message.test(line)) resolve();
    },
  }); // prettier-ignore
  const peers = peer === null ? {} : { b: peer };
  const config = AgentConfigSchema.parse({ node: 'a', listen: '127.0.0.1:0', stateDirectory, peers });
  const agent = await Agent.start(config, logger);
  t.teardown(() => agent.close());
  return {
    agent,
    logged: (message) =>
      lines.some((line) => message.test(line))
        ? Promise.resolve()
        : new Promise((resolve) => waiting.push({ message, resolve })),
  };
}

async function target(t: Test, decision: 'committed' | null): Promise<string> {
  const stateDirectory = join(t.testdir({}), 'b');
  await mkdir(join(stateDirectory, 'journal'), { recursive: true });
  if (decision) {
    const entry = { migration: ID, decision, vm: 'web', peer: 'a', at: new Date().toISOString() };
    await writeFile(join(stateDirectory, 'journal', `${ID}.json`), JSON.stringify(entry));
  }
  const config = AgentConfigSchema.parse({ node: 'b', listen: '127.0.0.1:0', stateDirectory });
  const agent = await Agent.start(config, pino({ level: 'silent' }));
  t.teardown(() => agent.close());
  return agent.url;
}

void t.test('a VM whose commit was sent before a restart is held until its outcome is known', async (t) => {
  await t.test('while nobody answers', async (t) => {
    t.testdir({});
    const { agent, logged } = await restarted(t, 'http://127.0.0.1:9');
    await logged(/could not be asked/);
    t.match(agent.guest('web'), { status: 'unknown', migration: ID });
    for (const operation of ['startGuest', 'stopGuest', 'undefineGuest'] as const) {
      const refused: Promise<unknown> = agent[operation]('web');
      await t.rejects(refused, { code: 'wrong-state', message: /outcome/ }, operation);
    }
    await t.rejects(agent.startMigration({ vm: 'web', to: 'b', options: {} }), {
      code: 'duplicate-migration',
    });
  });
  await t.test('while its target is not configured', async (t) => {
    t.testdir({});
    const { agent, logged } = await restarted(t, null);
    await logged(/'peers' does not name/);
    t.equal(agent.guest('web').status, 'unknown');
  });
  await t.test('it was committed: it is forgotten here', async (t) => {
    const { agent, logged } = await restarted(t, await target(t, 'committed'));
    await logged(/outcome of an earlier migration is known/);
    t.strictSame(agent.guests(), []);
  });
  await t.test('it was not: it is ours', async (t) => {
    const { agent, logged } = await restarted(t, await target(t, null));
    await logged(/outcome of an earlier migration is known/);
    t.equal(agent.guest('web').status, 'stopped');
    await agent.startGuest('web');
    t.equal(agent.guest('web').status, 'running');
  });
});
