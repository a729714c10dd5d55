import type { Test } from 'tap';
import type { ClusterReport } from '../../shared/api.js';
import { FakeAgentService } from './api-fake-service.js';
import { listeningServer } from './api-server.js';
import { runCommand } from './api-terminal.js';

/** Two agents that each have an own list of VMs and show both nodes, and `vmferry` that asks the first. */
export async function cluster(t: Test, shown: ClusterReport) {
  const [a, b] = [new FakeAgentService(), new FakeAgentService()];
  const servers = await Promise.all([a, b].map((service) => listeningServer(service)));
  t.teardown(() => Promise.all(servers.map(({ app }) => app.close())));
  for (const [index, service] of [a, b].slice(0, shown.nodes.length).entries()) {
    const { status, url } = { ...shown.nodes[index]!, url: servers[index]!.url };
    if (status) {
      service.info = status.node;
      service.guestsByName.clear();
      for (const guest of status.guests) service.guestsByName.set(guest.name, guest);
    }
    shown.nodes[index]!.url = url;
    service.cluster = () => Promise.resolve(shown);
  }
  const vmferry = async (line: string) => await runCommand([...line.split(' '), '--agent', servers[0]!.url]);
  return { a, b, vmferry, urlOfB: servers[1]!.url };
}
