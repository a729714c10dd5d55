import { AgentClient, followMigration, MigrationError } from 'vmferry/client';

/**
 * Moves all VMs that run on a node to another one, the smallest first, and says how each goes: move-all AGENT NODE. Written as programs
 * outside of this project are: against the client library alone. Files for TLS and the token are named as for the command line.
 */

const [url, to] = process.argv.slice(2);
if (url === undefined || to === undefined) throw new Error('usage: move-all AGENT NODE');

const { VMFERRY_CA, VMFERRY_CERTIFICATE, VMFERRY_KEY, VMFERRY_TOKEN_FILE } = process.env;
const agent = new AgentClient(url, {
  ca: VMFERRY_CA,
  certificate: VMFERRY_CERTIFICATE,
  key: VMFERRY_KEY,
  tokenFile: VMFERRY_TOKEN_FILE,
});

// Ctrl-C: what was asked for goes on.
const leaving = new AbortController();
process.once('SIGINT', () => leaving.abort());

const running = (await agent.guests()).filter(({ status }) => status === 'running');
for (const { name: vm } of running.sort((one, other) => one.memoryBytes - other.memoryBytes)) {
  try {
    const { id } = await agent.startMigration({ vm, to, options: { verify: 'after' } });
    const result = await followMigration({
      client: agent,
      id,
      signal: leaving.signal,
      onEvent: (event) => {
        if (event.event === 'round') console.log(`${vm}: ${event.round.residualPages} pages left`);
      },
    });
    const { outcome, error, downtimeMs } = result;
    console.log(`${vm}: ${outcome}${error ? ` (${error.message})` : `, down for ${downtimeMs} ms`}`);
    if (outcome !== 'completed') process.exitCode = 1;
  } catch (error) {
    // Of the agent, or of the way to it: nothing was begun, or the message says how to look. All else is a defect.
    if (!(error instanceof MigrationError)) throw error;
    console.error(`${vm}: ${error.code}: ${error.message}`);
    process.exitCode = 1;
    if (leaving.signal.aborted) break;
  }
}
