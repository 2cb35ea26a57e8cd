// Theme, copy, times in words, and whether the live connection stands. Behaviour belongs to htmx and the server.
(() => {
  'use strict';
  const root = document.documentElement;

  // ---- theme: this file is loaded without defer, so that it is set before the first paint
  const themes = ['system', 'light', 'dark'];
  const stored = () => { try { return localStorage.getItem('theme'); } catch { return null; } };
  let theme = themes.includes(stored()) ? stored() : 'system';
  const applyTheme = () => {
    if (theme === 'system') delete root.dataset.theme; else root.dataset.theme = theme;
    document.querySelectorAll('[data-theme-toggle]').forEach((button) => {
      button.hidden = false;
      const use = button.querySelector('use');
      use.setAttribute('href', use.getAttribute('href').replace(/#.*/, '#theme-' + theme));
      button.setAttribute('aria-label', 'Theme: ' + theme + '. Change');
      button.title = 'Theme: ' + theme;
    });
  };
  applyTheme();

  // ---- times: the server writes them absolute and in UTC
  const span = (ms) => {
    const s = Math.round(ms / 1000), m = Math.floor(s / 60), h = Math.round(m / 60), d = Math.round(h / 24);
    if (s < 60) return s + ' s';
    if (m < 10) return m + ' min' + (s % 60 ? ' ' + (s % 60) + ' s' : '');
    if (m < 60) return m + ' min';
    if (h < 36) return h + ' h';
    return d + ' days';
  };
  const say = (element, text) => { if (element.textContent !== text) element.textContent = text; };
  const relative = (kind, delta) => {
    if (kind === 'left') return delta > 0 ? span(delta) + ' left' : 'overdue by ' + span(-delta);
    if (kind === 'for') return span(Math.max(0, -delta));
    if (kind === 'due') return delta > 0 ? 'in ' + span(delta) : 'was due ' + span(-delta) + ' ago';
    if (Math.abs(delta) < 5000) return 'just now';
    return delta > 0 ? 'in ' + span(delta) : span(-delta) + ' ago';
  };
  // made once: a formatter costs more than all that a page lets it format
  const formats = {
    clock: new Intl.DateTimeFormat([], {timeStyle: 'medium', hour12: false}),
    day: new Intl.DateTimeFormat([], {day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', hour12: false}),
    minute: new Intl.DateTimeFormat([], {dateStyle: 'medium', timeStyle: 'short'}),
    full: new Intl.DateTimeFormat([], {dateStyle: 'medium', timeStyle: 'medium'}),
    title: new Intl.DateTimeFormat([], {dateStyle: 'full', timeStyle: 'long'}),
  };
  const tick = () => document.querySelectorAll('time[data-relative]').forEach((element) => {
    say(element, relative(element.dataset.relative, Date.parse(element.dateTime) - Date.now()));
  });
  // a morph takes the title away from a time that the server wrote anew
  const localize = () => document.querySelectorAll('time:not([title])').forEach((element) => {
    const at = new Date(element.dateTime);
    element.title = formats.title.format(at);
    if (!element.dataset.local) return;
    // the hour alone would be read as today's
    const isOld = element.dataset.local === 'clock' && at.toDateString() !== new Date().toDateString();
    say(element, formats[isOld && !element.closest('.log') ? 'day' : element.dataset.local].format(at));
  });
  const refresh = () => {
    applyTheme();
    document.querySelectorAll('[data-copy][hidden]').forEach((button) => { button.hidden = !navigator.clipboard; });
    document.querySelectorAll('[data-without-scripts]').forEach((element) => { element.hidden = true; });
    localize();
    tick();
  };

  // ---- the live connection
  const STALE_MS = 45000; // the server gives a sign of life every 15 s
  let lastSign = Date.now(), isLost = false, retry = null;
  const live = () => document.querySelector('[data-live]');
  const setLost = (lost) => {
    isLost = lost;
    const notice = document.getElementById('connection');
    if (notice) notice.hidden = !lost;
  };
  const alive = () => { lastSign = Date.now(); if (isLost) setLost(false); };
  const signedOut = () => { location.assign('/login?next=' + encodeURIComponent(location.pathname + location.search)); };
  const tryAgain = () => {
    clearTimeout(retry);
    retry = setTimeout(() => live()?.dispatchEvent(new CustomEvent('live:again')), 4000);
  };
  const watch = () => {
    if (live() && !document.hidden && Date.now() - lastSign > STALE_MS) setLost(true);
  };
  document.addEventListener('htmx:sse:after:connection', alive);
  document.addEventListener('htmx:sse:after:message', alive);
  document.addEventListener('htmx:sse:error', (event) => {
    if (event.detail.status === 401) signedOut();
    setLost(true);
  });
  // the first connection is an ordinary request, which htmx does not repeat by itself
  document.addEventListener('htmx:error', (event) => {
    if (event.target === live()) { setLost(true); tryAgain(); }
  });
  document.addEventListener('htmx:response:error', (event) => {
    if (event.target !== live()) return;
    if (event.detail.ctx.response.status === 401) return signedOut();
    setLost(true);
    tryAgain();
  });
  document.addEventListener('visibilitychange', () => { lastSign = Date.now(); });

  document.addEventListener('DOMContentLoaded', () => {
    refresh();
    // on a phone the tabs are wider than the screen
    document.querySelectorAll('.tabs [aria-current]').forEach((tab) => { tab.parentElement.scrollLeft = tab.offsetLeft - tab.parentElement.offsetLeft - 24; });
    setInterval(() => { tick(); watch(); }, 1000);
  });
  document.addEventListener('htmx:after:swap', refresh);

  document.addEventListener('click', async (event) => {
    if (event.target.closest('[data-theme-toggle]')) {
      theme = themes[(themes.indexOf(theme) + 1) % themes.length];
      try { localStorage.setItem('theme', theme); } catch { /* private window: it lasts for this page */ }
      return applyTheme();
    }
    // a link that opens a dialog where dialogs can be opened; elsewhere it leads to a page that asks the same
    const opener = event.target.closest('[data-dialog]');
    const dialog = opener && document.getElementById(opener.dataset.dialog);
    if (dialog?.showModal) {
      event.preventDefault();
      return dialog.showModal();
    }
    const menu = event.target.closest('details.menu');
    document.querySelectorAll('details.menu[open]').forEach((open) => { if (open !== menu) open.open = false; });
    const copy = event.target.closest('[data-copy]');
    if (!copy) return undefined;
    const label = copy.querySelector('[data-copy-label]');
    try {
      await navigator.clipboard.writeText(document.getElementById(copy.dataset.copy).textContent.trim());
      label.textContent = 'Copied';
    } catch {
      label.textContent = 'Select and copy';
    }
    setTimeout(() => { label.textContent = 'Copy'; }, 1600);
    return undefined;
  });
  document.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape') return;
    document.querySelectorAll('details.menu[open]').forEach((open) => { open.open = false; open.querySelector('summary').focus(); });
  });
})();
