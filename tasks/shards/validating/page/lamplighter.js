// Great Expectations' page asks for jQuery and Bootstrap; this is the little that it needs of them.
function setSucceeded(shown) {
  document.querySelectorAll(".hide-succeeded-validation-target-child").forEach(function (cell) {
    cell.parentElement.hidden = !shown;
  });
  document.querySelectorAll(".hide-succeeded-validation-target").forEach(function (part) {
    part.hidden = !shown;
  });
  document.querySelectorAll(".hide-succeeded-validations-column-section-target-child").forEach(function (part) {
    var section = part.closest(".ge-section");
    if (!section) { return; }
    section.hidden = !shown;
    document.querySelectorAll('a[href="#' + section.id + '"]').forEach(function (link) { link.hidden = !shown; });
  });
}
function showAllValidations() { setSucceeded(true); }
function hideSucceededValidations() { setSucceeded(false); }
document.addEventListener("click", function (event) {
  var toggle = event.target.closest("[data-toggle=collapse]");
  if (toggle) {
    var target = document.querySelector(toggle.getAttribute("data-target") || toggle.getAttribute("href"));
    if (target) { target.classList.toggle("show"); }
    event.preventDefault();
  }
  var choice = event.target.closest(".btn-group-toggle .btn");
  if (choice) {
    choice.parentElement.querySelectorAll(".btn").forEach(function (button) { button.classList.remove("active"); });
    choice.classList.add("active");
  }
});
