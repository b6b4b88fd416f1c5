using TransferEngine.Serialization;

namespace TransferEngine.Data;

/// <summary>Data sets that lie in single files.</summary>
public sealed partial class TensorDataset
{
    /// <summary>Reads images and their labels in MNIST's format; names that end in .gz are decompressed.</summary>
    /// <param name="imagesPath">Bytes, [N, H, W].</param>
    /// <param name="labelsPath">Bytes, [N].</param>
    /// <param name="device">Where the data goes; the CPU if null.</param>
    /// <returns>Inputs Float32 [N, 1, H, W] in 0 to 1, targets Int32 [N].</returns>
    /// <exception cref="DataFormatException">A file is no IDX file, or the files don't fit each other.</exception>
    public static TensorDataset FromIdx(string imagesPath, string labelsPath, Device? device = null)
    {
        var (shape, pixels) = Idx.Load(imagesPath);
        var (count, labels) = Idx.Load(labelsPath);
        if (shape.Rank != 3)
            throw new DataFormatException(imagesPath, $"its shape is {shape}, wanted images, [N, H, W].");
        if (count.Rank != 1 || count[0] != shape[0])
            throw new DataFormatException(labelsPath, $"its shape is {count}, wanted a label for each of the {shape[0]} images, [{shape[0]}].");
        return new(
            Tensor.From(Array.ConvertAll(pixels, value => value / 255f), [shape[0], 1, shape[1], shape[2]], device),
            Tensor.From(Array.ConvertAll(labels, value => (int)value), count, device));
    }

    /// <summary>Reads a table of numbers of which one column is the class; a name that ends in .gz is decompressed.</summary>
    /// <param name="path">The file.</param>
    /// <param name="labelColumn">The column of the classes, from 0; -1 is the last.</param>
    /// <param name="separator">What stands between numbers.</param>
    /// <param name="hasHeader">Whether the first line names the columns.</param>
    /// <param name="device">Where the data goes; the CPU if null.</param>
    /// <returns>Inputs Float32 [N, columns - 1], targets Int32 [N].</returns>
    /// <exception cref="DataFormatException">The file is no table of numbers, there is no such column, or a class is no whole number.</exception>
    public static TensorDataset FromCsv(string path, int labelColumn = -1, char separator = ',', bool hasHeader = false, Device? device = null)
    {
        var table = Csv.Load(path, separator, hasHeader);
        int column = labelColumn < 0 ? table.Columns + labelColumn : labelColumn, width = table.Columns - 1;
        if (column < 0 || column > width)
            throw new DataFormatException(path, $"there is no column {labelColumn} among its {table.Columns}.");
        float[] inputs = new float[table.Rows * width];
        int[] labels = new int[table.Rows];
        for (int row = 0; row < table.Rows; row++)
        {
            var values = table.Values.AsSpan(row * table.Columns, table.Columns);
            values[..column].CopyTo(inputs.AsSpan(row * width));
            values[(column + 1)..].CopyTo(inputs.AsSpan(row * width + column));
            labels[row] = (int)values[column];
            // A Float32 holds whole numbers to 2^24; beyond it two classes could become one.
            if (labels[row] != values[column] || Math.Abs(values[column]) > 1 << 24)
                throw new DataFormatException(path, $"row {row + 1}, column {column + 1}: {values[column]} is no class, wanted a whole number.");
        }
        return new(Tensor.From(inputs, [table.Rows, width], device), Tensor.From(labels, [table.Rows], device));
    }
}
