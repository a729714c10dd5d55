import type { ClusterReport } from '../shared/api.js';
import type { Connection } from './live-state.js';
import { guestsView } from './guests-view.js';
import { historyView } from './history-view.js';
import { runningView } from './migration-view.js';
import { nodesView } from './nodes-view.js';
import type { PageContext } from './page-context.js';
import { queueView } from './queue-view.js';
import { signInView } from './sign-in-view.js';
import { html, nothing, type TemplateResult } from './vendor/lit-html/lit-html.js';
import { counted } from '../shared/units.js';
import { clockTime } from './words.js';

/** The whole page. */
export function pageView(context: PageContext): TemplateResult {
  const { connection, cluster } = context.state;
  return html`
    ${headerView(context)}
    <main id="content" tabindex="-1">${mainView(context)}</main>
    <footer>
      ${
        cluster && connection.state !== 'refused'
          ? html`The cluster as node ${cluster.node} sees it. What each node does is asked of it, at most once
            a second.`
          : nothing
      }
    </footer>
  `;
}

function mainView(context: PageContext): TemplateResult {
  const { connection, cluster } = context.state;
  if (connection.state === 'refused') return signInView(context, connection.reason);
  if (!cluster) {
    return connection.state === 'lost'
      ? lostView(context)
      : html`<p class="empty" aria-busy="true">Asking the agent…</p>`;
  }
  return html`
    ${connection.state === 'lost' ? lostView(context) : nothing} ${versionView(context)}
    ${
      context.state.access && !context.state.mayOperate
        ? html`<p class="notice" id="read-only">
            You may look only: the token of ${context.state.access.holder} has the role
            <code>read</code>, and to start or cancel migrations takes <code>operate</code>.
          </p>`
        : nothing
    }
    <div class=${connection.state === 'lost' ? 'stale' : ''}>
      <p class="summary">${summary(cluster)}</p>
      ${runningView(context)} ${queueView(context)} ${nodesView(context)} ${guestsView(context)}
      ${historyView(context)}
    </div>
  `;
}

/** The cluster in a line. */
function summary({ nodes, queue }: ClusterReport): string {
  const drained = nodes.filter(({ status }) => status?.node.drained).length;
  const silent = nodes.filter(({ error }) => error).length;
  const beside = [
    ...(drained > 0 ? [`${drained} drained`] : []),
    ...(silent > 0 ? [`${silent} without an answer`] : []),
  ];
  const vms = nodes
    .flatMap(({ status }) => status?.guests ?? [])
    .filter(({ status }) => status !== 'incoming');
  const running = queue.filter(({ state }) => state === 'running').length;
  return [
    `${counted(nodes.length, 'node')}${beside.length > 0 ? ` (${beside.join(', ')})` : ''}`,
    counted(vms.length, 'VM'),
    `${counted(running, 'migration')} under way`,
    `${queue.length - running} waiting`,
  ].join(', ');
}

function headerView({ state, actions }: PageContext): TemplateResult {
  const { own, cluster, access, connection } = state;
  const node = own?.node ?? null;
  return html`<header>
    <a class="skip" href="#content">Skip to the content</a>
    <h1><img src="/dashboard/icon.svg" alt="" width="28" height="28" /> vmferry</h1>
    ${node ? html`<p class="where">node <strong>${node}</strong></p>` : nothing}
    <p class="connection" data-state=${connection.state}>${connectionWords(connection, cluster?.at)}</p>
    ${
      access?.holder
        ? html`<p class="who">${access.holder}, <span>${access.role}</span></p>
            <button type="button" class="quiet" @click=${() => actions.signOut()}>Sign out</button>`
        : nothing
    }
  </header>`;
}

function connectionWords({ state }: Connection, at: string | undefined): string {
  switch (state) {
    case 'connecting':
      return 'connecting';
    case 'live':
      return 'live';
    case 'paused':
      return 'paused while nobody looks';
    case 'lost':
      return at === undefined ? 'no answer' : `no answer since ${clockTime(at)}`;
    case 'refused':
      return 'signed out';
  }
}

function lostView({ state }: PageContext): TemplateResult {
  const { connection, cluster } = state;
  const reason = connection.state === 'lost' ? connection.reason : '';
  return html`<div class="notice problem" role="alert">
    <p>
      <strong>No news: ${reason}.</strong>
      ${cluster ? html`What follows is from ${clockTime(cluster.at)}.` : nothing} The page tries again by
      itself. VMs and migrations do not depend on it.
    </p>
    <button type="button" @click=${() => state.lookNow()}>Try now</button>
  </div>`;
}

function versionView({ state }: PageContext): TemplateResult | typeof nothing {
  const version = state.own?.status?.node.version;
  if (version === undefined || version === state.firstVersion) return nothing;
  return html`<p class="notice">
    The agent is now vmferry ${version}, this page is of ${state.firstVersion}: <a href="/">load it anew</a>.
  </p>`;
}
