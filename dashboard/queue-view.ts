import type { ClusterQueueEntry } from '../shared/api.js';
import { formatEstimate } from '../shared/units.js';
import { dashboardLink } from './nodes-view.js';
import type { PageContext } from './page-context.js';
import { html, nothing, type TemplateResult } from './vendor/lit-html/lit-html.js';
import { repeat } from './vendor/lit-html/directives/repeat.js';
import { clockTime } from './words.js';

/** Migrations of the whole cluster that wait, in the order of their turns. */
export function queueView(context: PageContext): TemplateResult {
  const waiting = (context.state.cluster?.queue ?? []).filter(({ state }) => state === 'waiting');
  return html`<section aria-labelledby="queue">
    <h2 id="queue">Queue</h2>
    ${
      waiting.length === 0
        ? html`<p class="empty">No migration waits.</p>`
        : html`<ol class="queue">
            ${repeat(
              waiting,
              ({ migration }) => migration,
              (entry) => entryView(context, entry),
            )}
          </ol>`
    }
  </section>`;
}

function entryView(context: PageContext, entry: ClusterQueueEntry): TemplateResult {
  const { migration, vm, from, to, requestedAt, priority, expectedStart } = entry;
  return html`<li data-migration=${migration}>
    <div class="title">
      <strong>${vm}</strong> <span class="way">${from} → ${to}</span>
      <span>${startWords(expectedStart)}</span>
      <span class="end">${cancelButton(context, { id: migration, vm, from, to })}</span>
    </div>
    <p class="note facts">
      <span>${waitsForWords(context, entry)}</span>
      <span>asked for at ${clockTime(requestedAt)}</span>
      ${priority === 0 ? nothing : html`<span>priority ${priority}</span>`}
    </p>
  </li>`;
}

/** 'node b (db to c)': what holds the node, by the name that people know it by. */
function waitsForWords({ state }: PageContext, { waitsFor, positions }: ClusterQueueEntry): string {
  const places = positions.map(({ node, position }) => `place ${position} at ${node}`).join(', ');
  if (waitsFor.length === 0) return `next: ${places}`;
  const holders = waitsFor.map(({ node, holder }) => {
    const held = state.cluster?.queue.find(({ migration }) => migration === holder);
    return `node ${node}${held ? ` (${held.vm} to ${held.to})` : ''}`;
  });
  return `waits for ${holders.join(' and ')}; ${places}`;
}

function startWords(expectedStart: string | null): string {
  if (expectedStart === null) return 'begins when those before it are done';
  const left = Date.parse(expectedStart) - Date.now();
  return left < 1000 ? 'begins soon' : `begins in about ${formatEstimate(left)}, or later`;
}

/** Cancels a migration from this node; those of others are cancelled at these. */
export function cancelButton(
  { state, actions }: PageContext,
  migration: { id: string; vm: string; from: string; to: string },
): TemplateResult {
  const { cluster, mayOperate, access } = state;
  if (migration.from !== cluster?.node) {
    const url = cluster?.nodes.find(({ node }) => node === migration.from)?.url;
    return html`<span class="note">${dashboardLink(migration.from, url)}</span>`;
  }
  return html`<button
    type="button"
    aria-label="Cancel the migration of ${migration.vm}…"
    aria-describedby=${access && !mayOperate ? 'read-only' : nothing}
    ?disabled=${!mayOperate}
    @click=${() => actions.cancel(migration)}
  >
    Cancel…
  </button>`;
}
