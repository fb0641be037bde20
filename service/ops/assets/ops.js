// Keeps the page up to date: a stream says that something has changed, and htmx fetches what is shown anew.
// Without it the page is the same, and is brought up to date by loading it again.
"use strict";

(() => {
  const live = () => document.getElementById("live");
  if (!live()) return;

  const RETRY_MS = 10000;
  let stream = null;
  let timer = null;
  let opened = [];

  const look = () => document.body.dispatchEvent(new Event("changed"));

  const connect = () => {
    if (stream || document.hidden) return;
    stream = new EventSource("/ops/changes");
    stream.addEventListener("changed", look);
    stream.addEventListener("error", () => {
      // The browser tries again by itself, unless it was refused for good: then look now and then.
      if (stream && stream.readyState === EventSource.CLOSED) {
        disconnect();
        look();
        timer = setTimeout(connect, RETRY_MS);
      }
    });
  };

  const disconnect = () => {
    clearTimeout(timer);
    if (stream) stream.close();
    stream = null;
  };

  // A page that nobody looks at holds no connection.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) disconnect();
    else { look(); connect(); }
  });
  // One that the browser keeps for going back would hold it, too.
  window.addEventListener("pagehide", disconnect);
  window.addEventListener("pageshow", connect);

  document.body.addEventListener("htmx:beforeSwap", (event) => {
    const shown = live();
    const fetched = new DOMParser().parseFromString(event.detail.serverResponse, "text/html").getElementById("live");
    if (!fetched || comparable(fetched) === comparable(shown)) {
      event.detail.shouldSwap = false;
      return;
    }
    opened = [...shown.querySelectorAll("details[open]")].map((one) => one.id);
  });
  document.body.addEventListener("htmx:afterSwap", () => {
    for (const id of opened) {
      const again = document.getElementById(id);
      if (again) again.open = true;
    }
  });
  document.body.addEventListener("htmx:responseError", (event) => {
    // The session has ended: the login says so.
    if (event.detail.xhr.status === 401) window.location.reload();
  });

  // What of a page tells whether it has changed; classes that htmx adds and what was unfolded do not.
  const comparable = (element) => element.textContent + [...element.querySelectorAll("rect")].map((one) => one.outerHTML).join("");
})();
