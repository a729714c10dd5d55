import type { GuestInfo, GuestStatus } from '../shared/api.js';
import { counted, formatBytes } from '../shared/units.js';
import { dashboardLink } from './nodes-view.js';
import type { PageContext } from './page-context.js';
import { html, nothing, type TemplateResult } from './vendor/lit-html/lit-html.js';
import { repeat } from './vendor/lit-html/directives/repeat.js';

/** From how many VMs on they can be filtered, and how many are shown at once. */
const FILTERED_FROM = 8;
const SHOWN = 100;

interface Placed {
  readonly node: string;
  readonly url: string;
  readonly guest: GuestInfo;
}

export function guestsView(context: PageContext): TemplateResult {
  const { state, choices, actions } = context;
  const all = (state.cluster?.nodes ?? []).flatMap(({ node, url, status }) =>
    (status?.guests ?? []).map((guest): Placed => ({ node, url, guest })),
  );
  const wanted = choices.guestFilter.trim().toLowerCase();
  const found = all
    .filter(({ node, guest }) => `${guest.name} ${node} ${guest.status}`.toLowerCase().includes(wanted))
    .sort((a, b) => (a.guest.name < b.guest.name ? -1 : 1));
  const filter = (event: InputEvent) => actions.filterGuests((event.target as HTMLInputElement).value);
  return html`<section aria-labelledby="vms">
    <h2 id="vms">VMs</h2>
    ${
      all.length >= FILTERED_FROM
        ? html`<p class="filter">
            <label for="filter">Name, node or status has</label>
            <input id="filter" type="search" @input=${filter} />
            <span role="status">${found.length} of ${counted(all.length, 'VM')}</span>
          </p>`
        : nothing
    }
    ${
      all.length === 0
        ? html`<p class="empty">
            There is none yet: <code>vmferry vm define FILE</code>, then <code>vmferry vm start NAME</code>.
          </p>`
        : html`<div class="scroll" role="region" aria-label="Table of VMs" tabindex="0">
              <table>
                <thead>
                  <tr>
                    <th scope="col">VM</th>
                    <th scope="col">node</th>
                    <th scope="col">status</th>
                    <th scope="col" class="minor">kind</th>
                    <th scope="col" class="figures minor">memory</th>
                    <th scope="col" class="minor">write-log</th>
                    <th scope="col" class="does">action</th>
                  </tr>
                </thead>
                <tbody>
                  ${repeat(
                    found.slice(0, SHOWN),
                    ({ node, guest }) => `${node}/${guest.name}`,
                    (placed) => guestRow(context, placed),
                  )}
                </tbody>
              </table>
            </div>
            ${
              found.length > SHOWN
                ? html`<p class="note">${found.length - SHOWN} more: narrow them down.</p>`
                : nothing
            }`
    }
  </section>`;
}

function guestRow(context: PageContext, { node, url, guest }: Placed): TemplateResult {
  const { name, status, kind, memoryBytes, writeLog, failure } = guest;
  return html`<tr>
    <th scope="row">${name}</th>
    <td>${node}</td>
    <td>
      ${statusBadge(status)} ${failure === null ? nothing : html`<span class="detail">${failure}</span>`}
    </td>
    <td class="minor">${kind}</td>
    <td class="figures minor">${formatBytes(memoryBytes)}</td>
    <td class="minor">${writeLog?.kind ?? '–'}</td>
    <td class="does">${actionView(context, node, url, guest)}</td>
  </tr>`;
}

function actionView(
  { state, actions }: PageContext,
  node: string,
  url: string,
  { name, status, migration }: GuestInfo,
): TemplateResult | typeof nothing {
  if (migration !== null)
    return html`<span class="note">${status === 'incoming' ? 'arriving' : 'in a migration'}</span>`;
  if (node !== state.cluster?.node) return html`<span class="note">${dashboardLink(node, url)}</span>`;
  if (status === 'unknown') return html`<span class="note">vmferry vm resolve ${name}</span>`;
  if (status !== 'running' && status !== 'paused') return nothing;
  return html`<button
    type="button"
    aria-label="Migrate ${name}…"
    aria-describedby=${state.access && !state.mayOperate ? 'read-only' : nothing}
    ?disabled=${!state.mayOperate}
    @click=${() => actions.migrate(name)}
  >
    Migrate…
  </button>`;
}

const TONES: Readonly<Record<GuestStatus, string>> = {
  running: 'good',
  paused: 'warning',
  incoming: '',
  stopped: '',
  finished: '',
  unknown: 'problem',
  stray: 'problem',
};

const STATUS_WORDS: Partial<Readonly<Record<GuestStatus, string>>> = {
  unknown: 'outcome unknown, paused',
  stray: 'stray: may be running',
};

function statusBadge(status: GuestStatus): TemplateResult {
  return html`<span class="badge ${TONES[status] ?? ''}">${STATUS_WORDS[status] ?? status}</span>`;
}
