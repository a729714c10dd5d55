import { formatBytes, formatDuration } from '../../shared/units.js';
import { html } from '../bench/report/html.js';
import { linkName } from '../bench/report/move-sections.js';
import { type Fact, factsHtml, renderPage } from '../bench/report/render-page.js';
import type { Scenario } from './scenario.js';
import type { SimulationReport } from './simulation-report.js';
import { simulationSections } from './simulation-sections.js';

/** A simulation as one HTML file with plots that needs no other. */
export function simulationPage(report: SimulationReport): string {
  const { command, cluster, scenario } = report;
  return renderPage({
    title: 'vmferry simulate',
    header: html`
      <header>
        <h1>vmferry simulate</h1>
        <p>
          A model, not a measurement: the same moves, one at a time per pair of nodes and several at once per
          node.
        </p>
        <p class="note">Run it again:</p>
        <pre><code>${command}</code></pre>
        <h2>What is simulated</h2>
        <div class="tiles facts">
          ${[
            factsHtml('Cluster', [
              ['nodes', cluster.nodes],
              ...scenario.nodes.map(({ count, link, guests }): Fact => [
                `${count} of them`,
                `${linkName(link)}, ${guests} guests each`,
              ]),
              ['guests', cluster.guests],
              ['their memory', formatBytes(cluster.memoryBytes)],
              ['seed', scenario.seed],
            ]),
            factsHtml('Moves', [['moved', movesText(scenario.moves)], ...migrationFacts(scenario)]),
            factsHtml(
              'A migration beside copying',
              Object.entries(scenario.overheads).map(([name, ms]): Fact => [name, formatDuration(ms)]),
            ),
          ]}
        </div>
      </header>
    `,
    sections: simulationSections(report),
    picks: [],
    last: html``,
  });
}

function migrationFacts({ migration }: Scenario): Fact[] {
  const { maxDowntime, maxTime, bandwidth, maxRounds, stallRounds, onLimit } = migration;
  return [
    ['downtime asked for', formatDuration(maxDowntime)],
    ['longest copying', formatDuration(maxTime)],
    ['most rounds', maxRounds],
    ['rounds that are a stall', stallRounds],
    ['at a limit', onLimit],
    ['bandwidth of each', bandwidth === 0 ? 'no limit' : linkName(bandwidth)],
  ];
}

/** 'the guests of 4 nodes, which are drained at once' */
export function movesText(moves: Scenario['moves']): string {
  switch (moves.kind) {
    case 'drain':
      return `the guests of ${moves.nodes} nodes, which are drained at once`;
    case 'rolling':
      return `the guests of all nodes, of which ${moves.batch} at a time are drained`;
    case 'pairs':
      return `${moves.count} guests, each to a node drawn at random`;
  }
}
