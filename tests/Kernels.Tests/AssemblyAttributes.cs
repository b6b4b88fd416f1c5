[assembly: System.Runtime.CompilerServices.InternalsVisibleTo("ILGPURuntime")]
