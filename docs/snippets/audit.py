import convscope as cs

found = cs.audit(cs.load(), "labelled", boxes="boxes.csv", train="labelled")
print(found.title)
for one in found.errors:
    print(f"{one.name}: called {found.called(one)}, loss {one.loss:.2f}")
for confusion in found.confusions:
    print(confusion.label, "→", confusion.called, [unit.unit for unit in confusion.units])
print(found.looking.errors, found.looking.right)  # where the maps lie

found.save_page("labelled.audit")  # a folder: audit.html opens in a browser
found.save("worst.png")  # the worst errors as one picture
