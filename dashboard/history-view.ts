import type { HistoryEntry, Outcome } from '../shared/api.js';
import { formatBytes, formatDuration } from '../shared/units.js';
import type { PageContext } from './page-context.js';
import { html, nothing, type TemplateResult } from './vendor/lit-html/lit-html.js';
import { repeat } from './vendor/lit-html/directives/repeat.js';
import { clockTime } from './words.js';

/** Shown until all are asked for. */
const SHOWN = 10;

export function historyView(context: PageContext): TemplateResult {
  const { state, choices, actions } = context;
  const { history, cluster } = state;
  const shown = choices.wholeHistory ? history : history.slice(0, SHOWN);
  return html`<section aria-labelledby="history">
    <h2 id="history">History <span class="note">of migrations from ${cluster?.node}</span></h2>
    ${
      history.length === 0
        ? html`<p class="empty">No migration from here has ended yet.</p>`
        : html`<div class="scroll" role="region" aria-label="Table of ended migrations" tabindex="0">
              <table>
                <thead>
                  <tr>
                    <th scope="col">ended</th>
                    <th scope="col">VM</th>
                    <th scope="col" class="minor">to</th>
                    <th scope="col">outcome</th>
                    <th scope="col" class="figures minor">downtime</th>
                    <th scope="col" class="figures minor">took</th>
                    <th scope="col" class="figures minor">waited</th>
                    <th scope="col" class="figures minor">rounds</th>
                    <th scope="col" class="figures minor">sent</th>
                    <th scope="col" class="does">action</th>
                  </tr>
                </thead>
                <tbody>
                  ${repeat(
                    shown,
                    ({ id }) => id,
                    (entry) => entryRow(context, entry),
                  )}
                </tbody>
              </table>
            </div>
            ${
              history.length > shown.length
                ? html`<p>
                    <button type="button" class="quiet" @click=${() => actions.showWholeHistory()}>
                      Show all ${history.length}
                    </button>
                  </p>`
                : nothing
            }`
    }
  </section>`;
}

function entryRow({ actions }: PageContext, entry: HistoryEntry): TemplateResult {
  const { vm, to, outcome, endedAt, downtimeMs, totalMs, queuedMs, rounds, wireBytes, error } = entry;
  return html`<tr>
    <td>${clockTime(endedAt)}</td>
    <th scope="row">${vm}</th>
    <td class="minor">${to}</td>
    <td>
      ${outcomeBadge(outcome)}
      ${error && error.code !== 'cancelled' ? html`<span class="detail">${error.message}</span>` : nothing}
    </td>
    <td class="figures minor">${downtimeMs > 0 ? formatDuration(downtimeMs) : '–'}</td>
    <td class="figures minor">${formatDuration(totalMs)}</td>
    <td class="figures minor">${formatDuration(queuedMs)}</td>
    <td class="figures minor">${rounds}</td>
    <td class="figures minor">${formatBytes(wireBytes)}</td>
    <td class="does">
      <button
        type="button"
        class="quiet"
        aria-label="Rounds of the migration of ${vm} that ended at ${clockTime(endedAt)}"
        @click=${() => actions.show(entry)}
      >
        Rounds
      </button>
    </td>
  </tr>`;
}

const TONES: Readonly<Record<Outcome, string>> = {
  completed: 'good',
  cancelled: 'warning',
  failed: 'problem',
  unknown: 'problem',
};

export function outcomeBadge(outcome: Outcome): TemplateResult {
  return html`<span class="badge ${TONES[outcome] ?? ''}">${outcome}</span>`;
}
