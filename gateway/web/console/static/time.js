"use strict";
// Puts the reader's own time beside each time in UTC.
(() => {
  const say = new Intl.DateTimeFormat(document.documentElement.lang, {
    dateStyle: "short", timeStyle: "short",
  });
  const beside = () => {
    for (const time of document.querySelectorAll("time:not([data-local])")) {
      time.dataset.local = "";
      const local = document.createElement("span");
      local.className = "local";
      local.textContent = ` (${say.format(new Date(time.dateTime))})`;
      time.after(local);
    }
  };
  beside();
  document.addEventListener("htmx:afterSettle", beside);
})();
