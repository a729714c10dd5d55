import type {
  ClusterQueueEntry,
  ClusterReport,
  MigrationInfo,
  MigrationPhase,
  MigrationResult,
} from '../shared/api.js';
import { etaText, type Forecast, forecast } from '../shared/migration-forecast.js';
import { PAGE_SIZE } from '../shared/page.js';
import { counted, formatBytes, formatDuration, formatRate } from '../shared/units.js';
import { outcomeBadge } from './history-view.js';
import { downtimeParts, ratePlot, residualPlot, switchoverPlot } from './migration-plots.js';
import { isDrawable, type MigrationTrace, traceOf } from './migration-trace.js';
import type { PageContext } from './page-context.js';
import { cancelButton } from './queue-view.js';
import { html, nothing, type TemplateResult } from './vendor/lit-html/lit-html.js';
import { repeat } from './vendor/lit-html/directives/repeat.js';

/** Migrations that run, in all of the cluster, and those from here that have just ended. */
export function runningView(context: PageContext): TemplateResult {
  const { cluster, traces } = context.state;
  const running = traces.filter(({ result }) => !result);
  const ended = traces.filter(({ result }) => result).reverse();
  const elsewhere = (cluster?.queue ?? []).filter(
    ({ state, from }) => state === 'running' && from !== cluster?.node,
  );
  return html`<section aria-labelledby="running">
    <h2 id="running">Migrations</h2>
    ${running.length + elsewhere.length === 0 ? html`<p class="empty">No migration runs.</p>` : nothing}
    ${running.map((trace) => {
      const ahead = forecastOf(migrationAt(cluster, trace.from, trace.id), trace);
      return card(trace, traceView(trace, cancelButton(context, trace), ahead));
    })}
    ${elsewhere.map((entry) => card({ ...entry, id: entry.migration }, elsewhereView(context, entry)))}
    ${repeat(
      ended,
      ({ id }) => id,
      (trace) => card(trace, traceView(trace, dismissButton(context, trace))),
    )}
  </section>`;
}

function card({ id, vm }: { id: string; vm: string }, content: TemplateResult): TemplateResult {
  return html`<article class="card" data-migration=${id} aria-label="Migration of ${vm}">
    ${content}
  </article>`;
}

function dismissButton({ state }: PageContext, { id, vm }: MigrationTrace): TemplateResult {
  return html`<button
    type="button"
    class="quiet"
    aria-label="Dismiss the migration of ${vm}"
    @click=${() => state.dismiss(id)}
  >
    Dismiss
  </button>`;
}

/** One that is not from here: drawn as its own node has told it at the last look. */
function elsewhereView(context: PageContext, entry: ClusterQueueEntry): TemplateResult {
  const { migration: id, vm, from, to } = entry;
  const button = cancelButton(context, { id, vm, from, to });
  const told = migrationAt(context.state.cluster, from, id);
  if (told && isDrawable(told)) return traceView(traceOf(told), button, forecastOf(told, told));
  return titleView({ id, vm, from, to }, told?.phase, button);
}

/** What a node has told of a migration from there. */
function migrationAt(cluster: ClusterReport | null, from: string, id: string): MigrationInfo | undefined {
  return cluster?.nodes
    .find(({ node }) => node === from)
    ?.status?.migrations.find((migration) => migration.id === id);
}

/** How it will go on; undefined where that can't be told. */
function forecastOf(
  told: MigrationInfo | undefined,
  { phase, progress }: Pick<MigrationInfo, 'phase' | 'progress'>,
): Forecast | undefined {
  return told?.copying && phase === 'copying' ? forecast(told.copying, progress) : undefined;
}

const PHASES: Readonly<Record<MigrationPhase, string>> = {
  queued: 'waiting',
  preparing: 'preparing',
  copying: 'copying',
  'switching-over': 'switching over: the VM is paused',
  verifying: 'comparing memory',
  committing: 'committing',
  asking: 'asking the target for the outcome: the VM is paused',
  completing: 'runs at the target, clearing away',
  aborting: 'going on at the source',
  ended: 'ended',
};

/** A migration with its plots. `button`: what can be done about it. */
export function traceView(trace: MigrationTrace, button: TemplateResult, ahead?: Forecast): TemplateResult {
  const { phase, result, rounds, progress } = trace;
  return html`
    ${titleView(trace, phase, button, result)} ${result ? resultView(result) : progressView(trace, ahead)}
    ${
      rounds.length > 0 || progress
        ? html`<div class="plots">
              <figure>
                <h4>Left to copy</h4>
                <vmferry-plot .plot=${residualPlot(trace)}></vmferry-plot>
              </figure>
              <figure>
                <h4>Rates</h4>
                <vmferry-plot .plot=${ratePlot(trace)}></vmferry-plot>
              </figure>
              ${
                result && result.downtimeMs > 0
                  ? html`<figure class="wide">
                      <h4>Switchover: ${formatDuration(result.downtimeMs)} of downtime</h4>
                      <vmferry-plot class="low" .plot=${switchoverPlot(result)}></vmferry-plot>
                    </figure>`
                  : nothing
              }
            </div>
            ${rounds.length > 0 ? roundsTable(trace) : nothing}`
        : nothing
    }
  `;
}

function titleView(
  { id, vm, from, to }: Pick<MigrationInfo, 'id' | 'vm' | 'from' | 'to'>,
  phase: MigrationPhase | undefined,
  button: TemplateResult,
  result: MigrationResult | null = null,
): TemplateResult {
  return html`<div class="title">
    <h3>${vm} <span class="way">${from} → ${to}</span></h3>
    ${
      result
        ? outcomeBadge(result.outcome)
        : html`<span class="badge busy">${phase ? PHASES[phase] : 'running'}</span>`
    }
    <code class="note">${id}</code>
    <span class="end">${button}</span>
  </div>`;
}

function forecastView(ahead: Forecast): TemplateResult {
  const { state, reason } = ahead;
  const tone = { measuring: 'busy', converging: 'good', slow: 'warning', stalled: 'problem' }[state];
  const eta = etaText(ahead);
  return html`<p><span class="badge ${tone}">${state}</span> ${eta === '' ? '' : `${eta}: `}${reason}</p>`;
}

function progressView(
  { vm, progress, rounds, thresholdBytes }: MigrationTrace,
  ahead: Forecast | undefined,
): TemplateResult | typeof nothing {
  const last = rounds.at(-1);
  if (!progress && !last) return nothing;
  const round = progress?.round ?? (last ? last.round + 1 : 0);
  const share = progress && progress.pagesTotal > 0 ? progress.pagesDone / progress.pagesTotal : 0;
  const linkRate = progress?.bytesPerSecond ?? last?.bytesPerSecond;
  const known = [
    `round ${round}`,
    ...(progress
      ? [`${formatBytes(progress.pagesDone * PAGE_SIZE)} of ${formatBytes(progress.pagesTotal * PAGE_SIZE)}`]
      : []),
    ...(linkRate === undefined ? [] : [`${formatRate(linkRate)} on the link`]),
    ...(last
      ? [
          `${formatRate(last.dirtyPagesPerSecond * PAGE_SIZE)} written by the VM`,
          `${formatBytes(last.residualPages * PAGE_SIZE)} left`,
        ]
      : []),
    ...(thresholdBytes === null ? [] : [`${formatBytes(thresholdBytes)} fit the downtime limit`]),
  ];
  return html`<progress
      aria-label="Round ${round} of the migration of ${vm}"
      max="1"
      value=${share}
    ></progress>
    <p class="facts">${known.map((fact) => html`<span>${fact}</span>`)}</p>
    ${ahead ? forecastView(ahead) : nothing}`;
}

function resultView(result: MigrationResult): TemplateResult {
  const { from, vm, outcome, error, totalMs, queuedMs, downtimeMs, rounds, wireBytes, convergence, verify } =
    result;
  const facts = [
    ...(downtimeMs > 0 ? [`downtime ${formatDuration(downtimeMs)}`] : []),
    `took ${formatDuration(totalMs)}`,
    ...(queuedMs >= 1 ? [`waited ${formatDuration(queuedMs)}`] : []),
    counted(rounds.length, 'round'),
    `sent ${formatBytes(wireBytes)}`,
    ...(convergence ? [`rounds ended: ${convergence.reason}`] : []),
    ...(verify.mode === 'off'
      ? []
      : [`verified: ${counted(verify.pagesChecked, 'page')} compared, ${verify.mismatches} differ`]),
  ];
  return html`
    ${error && error.code !== 'cancelled' ? html`<p class="notice problem">${error.message}</p>` : nothing}
    ${
      outcome === 'completed' || outcome === 'unknown'
        ? nothing
        : html`<p>
            ${vm} is on ${from} as before.${error?.retryable ? ' It may move when this is tried again.' : ''}
          </p>`
    }
    ${
      outcome === 'unknown'
        ? html`<p>
            ${vm} stays paused on ${from} until the target has answered.
            <code>vmferry vm resolve ${vm}</code> says what is known and what can be done.
          </p>`
        : nothing
    }
    <p class="facts">${facts.map((fact) => html`<span>${fact}</span>`)}</p>
  `;
}

/** The plots' figures. */
function roundsTable({ vm, rounds, switchoverRound, result }: MigrationTrace): TemplateResult {
  return html`<details>
    <summary>As tables</summary>
    <div class="scroll" role="region" aria-label="Rounds of the migration of ${vm}" tabindex="0">
      <table>
        <thead>
          <tr>
            <th scope="col" class="figures">round</th>
            <th scope="col" class="figures">pages</th>
            <th scope="col" class="figures">zero</th>
            <th scope="col" class="figures">copied</th>
            <th scope="col" class="figures">time</th>
            <th scope="col" class="figures">rate</th>
            <th scope="col" class="figures">written by the VM</th>
            <th scope="col" class="figures">left</th>
          </tr>
        </thead>
        <tbody>
          ${rounds.map((each) => {
            const paused = each.round === switchoverRound;
            return html`<tr>
              <th scope="row" class="figures">${each.round}${paused ? ', paused' : ''}</th>
              <td class="figures">${each.pages}</td>
              <td class="figures">${each.zeroPages}</td>
              <td class="figures">${formatBytes(each.bytes)}</td>
              <td class="figures">${formatDuration(each.ms)}</td>
              <td class="figures">${formatRate(each.bytesPerSecond)}</td>
              <td class="figures">${paused ? '–' : formatRate(each.dirtyPagesPerSecond * PAGE_SIZE)}</td>
              <td class="figures">${formatBytes(each.residualPages * PAGE_SIZE)}</td>
            </tr>`;
          })}
        </tbody>
      </table>
      ${
        result && result.downtimeMs > 0
          ? html`<table>
              <thead>
                <tr>
                  ${downtimeParts(result).map(([name]) => html`<th scope="col" class="figures">${name}</th>`)}
                  <th scope="col" class="figures">downtime</th>
                </tr>
              </thead>
              <tbody>
                <tr>
                  ${downtimeParts(result).map(([, ms]) => html`<td class="figures">${formatDuration(ms)}</td>`)}
                  <td class="figures">${formatDuration(result.downtimeMs)}</td>
                </tr>
              </tbody>
            </table>`
          : nothing
      }
    </div>
  </details>`;
}
