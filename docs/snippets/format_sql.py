import json
import sqlite3
import zlib

import numpy as np

import convscope as cs

cs.survey(cs.load(), "photos", "photos.atlas", labels="groups").close()
tables = sqlite3.connect("file:photos.atlas/atlas.sqlite?mode=ro", uri=True)

# the strongest activations of one unit, and where
QUERY = """
SELECT rank, value, images.name, y, x, y0, x0, y1, x1
FROM exemplars JOIN layers ON layers.number = layer JOIN images ON images.number = image
WHERE layers.name = 'features.17' AND unit = 105 ORDER BY rank
"""
for row in tables.execute(QUERY):
    print(row)

# the ten sparsest units that are not dead
QUERY = """
SELECT layers.name || ':' || unit, share_positive, maximum FROM units JOIN layers ON layers.number = layer
WHERE NOT dead ORDER BY share_positive LIMIT 10
"""
print(tables.execute(QUERY).fetchall())

# the photos that excite most units of a layer
QUERY = """
SELECT images.name, count(*) AS places FROM exemplars JOIN images ON images.number = image
WHERE layer = 7 AND rank = 0 GROUP BY image ORDER BY places DESC
"""
print(tables.execute(QUERY).fetchall())

# dead units a layer
QUERY = """
SELECT layers.name, sum(dead), count(*) FROM units JOIN layers ON layers.number = layer GROUP BY layer ORDER BY layer
"""
print(tables.execute(QUERY).fetchall())

# blobs: quantiles are float64, the histogram deflated int64, unit_classes float32 with one number a data class
about = {key: json.loads(value) for key, value in tables.execute("SELECT * FROM about")}
QUERY = "SELECT histogram, quantiles FROM units WHERE layer = 7 AND unit = 105"
histogram, quantiles = tables.execute(QUERY).fetchone()
counts = np.frombuffer(zlib.decompress(histogram), "<i8")
print(dict(zip(about["quantiles"], np.frombuffer(quantiles, "<f8"), strict=True)), counts.sum())
(means,) = tables.execute("SELECT mean FROM unit_classes WHERE layer = 7 AND unit = 105").fetchone()
classes = [name for (name,) in tables.execute("SELECT name FROM classes ORDER BY number")]
print(dict(zip(classes, np.frombuffer(means, "<f4"), strict=True)))
