// Before anything is painted: the theme that was chosen here, if any.
"use strict";
try {
  const theme = localStorage.getItem("innermesh-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch { /* no storage: the system's theme holds */ }
